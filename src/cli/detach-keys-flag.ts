import { EngineError, parseDetachKeys } from "../common/index.ts";
import { UsageError } from "./usage-error.ts";

/** The bytes of `--detach-keys`; "" is ctrl-p ctrl-q. Throws UsageError in docker's words. */
export function toDetachKeys(text: string): readonly number[] {
  try {
    return parseDetachKeys(text);
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    throw new UsageError(`invalid detach keys (${text}): Unknown character: '${String(error.data["key"])}'`);
  }
}
