import { createIgnoreRules, ignorePatterns, type ImageConfig } from "../spec/index.ts";
import type { FrontendOptions } from "./build-request.ts";
import { lintDockerfile } from "./lint-dockerfile.ts";
import { lintStatus } from "./lint-report.ts";
import type { Dockerfile } from "./parse-dockerfile.ts";
import type { VertexWarning } from "./progress.ts";

/**
 * What Docker's checks say of a build, as its progress tells it: of the stages that the target needs, against the images that it
 * found. Throws `invalidArgument` where the Dockerfile says that findings fail the build (`# check=error=true`).
 */
export function buildWarnings(
  dockerfile: Dockerfile,
  build: {
    readonly frontend: Pick<FrontendOptions, "arguments" | "target">;
    readonly images: ReadonlyMap<string, { readonly config: ImageConfig }>;
    /** Patterns of .dockerignore. */
    readonly exclude: readonly string[];
    /** The vertex that they belong to. */
    readonly vertex: string;
  },
): VertexWarning[] {
  const { frontend, images, exclude, vertex } = build;
  const configs = [...images].map(([reference, image]): [string, ImageConfig] => [reference, image.config]);
  const { warnings, violation } = lintDockerfile(dockerfile, {
    arguments: frontend.arguments,
    target: frontend.target || String(dockerfile.stages.length - 1),
    bases: new Map(configs),
    ignore: exclude.length > 0 ? createIgnoreRules(ignorePatterns(exclude.join("\n"))) : undefined,
  });
  if (violation) throw violation;
  return lintStatus(warnings, { vertex, file: dockerfile.source.fileName });
}
