import type { ImageRecord } from "../image/index.ts";
import type { ImageRunConfig } from "../spec/index.ts";

/** One RUN. */
export interface ExecutorStep {
  /** The step's container: 64 hexadecimal digits. */
  readonly id: string;
  /** An active snapshot that is prepared and not mounted; it must not be mounted any more when `run` settles. */
  readonly snapshotKey: string;
  /** User, directory and environment of the command. */
  readonly config: ImageRunConfig;
  readonly command: string[];
  /** As HostConfig.NetworkMode has it. */
  readonly networkMode: string;
  readonly signal?: AbortSignal;
}

/**
 * What a build needs of the engine, which alone knows how to run a container. `run` settles once the command has ended and
 * everything it used but the snapshot is free again; it rejects when the command could not be started, and on abort. A promise that `onOutput` returns settles when
 * more may come: an executor that waits for it slows the command down to the speed of its reader.
 */
export interface Executor {
  run(
    step: ExecutorStep,
    onOutput: (chunk: { stream: "stdout" | "stderr"; data: Uint8Array }) => void | Promise<void>,
  ): Promise<{ exitCode: number }>;
  /** The image that FROM or --from names, fetched or made when it is missing. Throws notFound with Docker's words. */
  resolveBase(reference: string): Promise<ImageRecord>;
}
