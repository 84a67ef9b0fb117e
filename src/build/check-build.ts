import { EngineError } from "../common/index.ts";
import { parseIgnoreFile, type ImageConfig } from "../spec/index.ts";
import { lintBases, lintDockerfile, type LintOptions } from "./lint-dockerfile.ts";
import { describeCheck, lintReport, type LintReport } from "./lint-report.ts";
import { parseDockerfile } from "./parse-dockerfile.ts";

/** What `build --check` is about: texts, no context. */
export interface CheckRequest extends Pick<LintOptions, "arguments" | "target"> {
  readonly fileName: string;
  readonly dockerfile: string;
  /** The text of the context's .dockerignore. */
  readonly ignore?: string | undefined;
}

export interface CheckAnswer extends LintReport {
  /** What to print. */
  readonly output: string;
  /** What would end a build; "" where nothing would. */
  readonly error: string;
}

/** Checks a Dockerfile without building it. `findConfig` looks a base image up; what it does not know is not checked against. */
export function checkBuild(
  request: CheckRequest,
  findConfig: (reference: string) => ImageConfig | undefined,
): CheckAnswer {
  const { fileName } = request;
  try {
    const dockerfile = parseDockerfile(request.dockerfile, { fileName });
    const bases = new Map<string, ImageConfig>();
    for (const reference of lintBases(dockerfile, request)) {
      const config = findConfig(reference);
      if (config) bases.set(reference, config);
    }
    const ignore = request.ignore === undefined ? undefined : parseIgnoreFile(request.ignore);
    const result = lintDockerfile(dockerfile, { ...request, bases, ignore });
    const output = describeCheck(result, dockerfile.source);
    return { ...lintReport(result, dockerfile.source), output, error: result.error?.message ?? "" };
  } catch (error) {
    if (!(error instanceof EngineError) || error.code === "internal") throw error;
    const source = { fileName, text: request.dockerfile, lines: request.dockerfile.split("\n") };
    return { ...lintReport({ warnings: [], error }, source), output: "", error: error.message };
  }
}
