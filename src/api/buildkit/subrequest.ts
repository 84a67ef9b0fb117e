import { EngineError } from "../../common/index.ts";
import type { Engine } from "../../engine/index.ts";
import type { BuildSession } from "../../build/index.ts";
import type { JobResult } from "./build-job.ts";
import { lintRequest } from "./lint-request.ts";
import { outlineRequest, targetsRequest } from "./outline-request.ts";

type Attributes = Readonly<Record<string, string>>;

const requests = {
  "frontend.lint": lintRequest,
  "frontend.outline": outlineRequest,
  "frontend.targets": targetsRequest,
} as const;

/** What a client asks the Dockerfile's frontend instead of a build (`docker buildx build --call`). Throws unsupported, by name. */
export function subrequest(
  name: string,
  attributes: Attributes,
  services: { engine: Engine; session: BuildSession },
): Promise<JobResult> {
  if (name === "frontend.lint" || name === "frontend.outline" || name === "frontend.targets") {
    return requests[name](attributes, services);
  }
  throw new EngineError("unsupported", `the frontend's "${name}" is not built; lint, outline and targets are`);
}
