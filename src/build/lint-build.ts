import { createHash } from "node:crypto";
import { createIgnoreRules, type ImageConfig } from "../spec/index.ts";
import type { FrontendOptions } from "./build-request.ts";
import { lintDockerfile } from "./lint-dockerfile.ts";
import { lintStatus } from "./lint-report.ts";
import type { Dockerfile } from "./parse-dockerfile.ts";
import type { BuildStatus, Vertex } from "./progress.ts";

/**
 * What Docker's checks say of a build, as its progress tells it: of the stages that the target needs, against the images that it
 * found. Undefined where they say nothing. Throws `invalidArgument` where the Dockerfile says that findings fail the build
 * (`# check=error=true`).
 */
export function buildWarnings(
  dockerfile: Dockerfile,
  build: {
    readonly frontend: Pick<FrontendOptions, "arguments" | "target">;
    readonly images: ReadonlyMap<string, { readonly config: ImageConfig }>;
    /** Patterns of .dockerignore, cleaned. */
    readonly exclude: readonly string[];
  },
): BuildStatus | undefined {
  const { frontend, images, exclude } = build;
  const configs = [...images].map(([reference, image]): [string, ImageConfig] => [reference, image.config]);
  const { warnings, violation } = lintDockerfile(dockerfile, {
    arguments: frontend.arguments,
    target: frontend.target || String(dockerfile.stages.length - 1),
    bases: new Map(configs),
    ignore: exclude.length > 0 ? createIgnoreRules(exclude) : undefined,
  });
  if (violation) throw violation;
  if (warnings.length === 0) return undefined;
  const { fileName, text } = dockerfile.source;
  // Clients show a warning with its vertex, and no other vertex is the Dockerfile's.
  const digest = `sha256:${createHash("sha256")
    .update(JSON.stringify([fileName, text]))
    .digest("hex")}`;
  const name = `[internal] load build definition from ${fileName}`;
  const now = Date.now();
  const vertex: Vertex = { digest, inputs: [], name, cached: false, startedMs: now, completedMs: now };
  return {
    vertexes: [vertex],
    statuses: [],
    logs: [],
    warnings: lintStatus(warnings, { vertex: digest, file: fileName }),
  };
}
