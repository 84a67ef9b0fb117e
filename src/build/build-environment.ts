import { EngineError } from "../common/index.ts";
import type { BuildContext } from "./build-context.ts";
import { showPlace } from "./dockerfile-error.ts";
import type { Executor } from "./executor.ts";
import type { Instruction } from "./instruction.ts";
import type { Dockerfile } from "./parse-dockerfile.ts";
import type { ImageServices } from "./stage-state.ts";

/** What every step of one build works with. */
export interface BuildEnvironment {
  readonly services: ImageServices;
  readonly executor: Executor;
  readonly context: BuildContext;
  readonly dockerfile: Dockerfile;
  readonly options: BuildOptions;
}

export interface BuildOptions {
  readonly noCache: boolean;
  readonly removeIntermediate: boolean;
  readonly forceRemove: boolean;
  readonly networkMode: string;
  readonly signal: AbortSignal | undefined;
}

/** An error with the instruction's place below its sentence. */
export function errorAt(
  environment: Pick<BuildEnvironment, "dockerfile">,
  instruction: Pick<Instruction, "position">,
  what: { code: "invalidArgument" | "unsupported"; message: string },
): EngineError {
  const { source } = environment.dockerfile;
  return new EngineError(what.code, `${what.message}\n${showPlace(instruction.position, source)}`, {
    data: { file: source.fileName, ...instruction.position },
  });
}

export function throwIfCancelled(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw cancelled();
}

export function cancelled(): EngineError {
  return new EngineError("cancelled", "Build cancelled");
}
