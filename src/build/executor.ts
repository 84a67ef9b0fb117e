import type { ImageRecord } from "../image/index.ts";
import type { ImageRunConfig } from "../spec/index.ts";
import type { BuildLimits } from "./build-request.ts";
import type { CachePlace } from "./cache-place.ts";
import type { BuildSession } from "./session.ts";

/** A mount of a step's container beside those that every container has. */
export type StepMount =
  | {
      readonly type: "bind";
      /** On this machine: a folder, or a file. */
      readonly source: string;
      readonly target: string;
      readonly writable: boolean;
      readonly isFile: boolean;
    }
  | { readonly type: "tmpfs"; readonly target: string; readonly writable: boolean; readonly sizeBytes?: number };

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
  readonly mounts: readonly StepMount[];
  /** `name:address`. */
  readonly hosts: readonly string[];
  readonly limits: BuildLimits;
  /** As a privileged container. */
  readonly privileged: boolean;
  readonly signal?: AbortSignal;
}

/**
 * What a build needs of the engine, which alone knows how to run a container. `run` settles once the command has ended and
 * the snapshot is free again; what else it used is given back soon, and `settled` resolves once that is done for all runs so far. `run`
 * rejects when the command could not be started, and on abort. A promise that `onOutput` returns settles when more may come: an
 * executor that waits for it slows the command down to the speed of its reader.
 */
export interface Executor {
  run(
    step: ExecutorStep,
    onOutput: (chunk: { stream: "stdout" | "stderr"; data: Uint8Array }) => void | Promise<void>,
  ): Promise<{ exitCode: number }>;
  settled(): Promise<void>;
  /**
   * The image that FROM or --from names, pulled or made when it is missing, or with `pull` in any case. Throws notFound with Docker's
   * words.
   */
  resolveBase(reference: string, options: ResolveBaseOptions): Promise<ImageRecord>;
  /** A cache in a registry, by the tag or digest that names it. */
  cacheRepository(
    reference: string,
    options: { session: Pick<BuildSession, "credentials">; signal: AbortSignal; actions: "pull" | "pull,push" },
  ): Promise<CachePlace>;
}

export interface ResolveBaseOptions {
  readonly pull: boolean;
  /** Where it is another than this machine's. */
  readonly platform?: string | undefined;
  readonly session: Pick<BuildSession, "credentials">;
  readonly signal: AbortSignal;
  /** Lines for people while it is pulled. */
  readonly onProgress: (text: string) => void;
}
