import { EngineError } from "../common/index.ts";

/** What a build that was cancelled ends with. */
export function cancelled(): EngineError {
  return new EngineError("cancelled", "Build cancelled");
}
