// What a build does, as it does it, in the shapes of BuildKit's StatusResponse (moby/buildkit, api/services/control/control.proto).
import type { Position } from "./dockerfile-error.ts";
import type { OperationId } from "./operation.ts";
import type { StepEvent } from "./step-events.ts";

/** One operation of a build's graph, told again each time that something of it changes. Times: milliseconds since 1970. */
export interface Vertex {
  /** `sha256:…` of the operation's definition. */
  readonly digest: string;
  /** Digests of the vertices whose results it takes. */
  readonly inputs: readonly string[];
  /** `[stage-1 2/3] RUN make`, `[internal] load build context`. */
  readonly name: string;
  readonly cached: boolean;
  readonly startedMs?: number;
  readonly completedMs?: number;
  /** Why it failed; a vertex that was cancelled says so here too. */
  readonly error?: string;
  readonly progressGroup?: { readonly id: string; readonly name: string; readonly weak: boolean };
}

/** A part of a vertex that can be counted: bytes of a download, files of a context. */
export interface VertexStatus {
  readonly id: string;
  readonly vertex: string;
  readonly name: string;
  readonly current: number;
  /** 0 where nobody knows. */
  readonly total: number;
  readonly timestampMs: number;
  readonly startedMs?: number;
  readonly completedMs?: number;
}

export interface VertexLog {
  readonly vertex: string;
  readonly timestampMs: number;
  /** 1 standard output, 2 standard error. */
  readonly stream: 1 | 2;
  readonly msg: Uint8Array;
}

export interface VertexWarning {
  readonly vertex: string;
  readonly level: number;
  /** One sentence. */
  readonly short: string;
  readonly detail: readonly string[];
  readonly url: string;
  readonly file: string;
  /** Lines and columns from 1. */
  readonly range: readonly { readonly start: Position; readonly end: Position }[];
}

export interface BuildStatus {
  readonly vertexes: readonly Vertex[];
  readonly statuses: readonly VertexStatus[];
  readonly logs: readonly VertexLog[];
  readonly warnings: readonly VertexWarning[];
}

/**
 * `status` is for whoever speaks BuildKit's protocol. The others are what the classic rendering needs beside it: the container in
 * which an operation runs, what happens to the steps of each stage, and lines for people.
 */
export type BuildEvent =
  | { readonly type: "status"; readonly status: BuildStatus }
  /** The Dockerfile, before anything of it is read. */
  | { readonly type: "source"; readonly source: { readonly name: string; readonly text: string } }
  | { readonly type: "container"; readonly vertex: OperationId; readonly containerId: string }
  /** Stages that the build does, in the Dockerfile's order; steps of each come later. */
  | { readonly type: "stages"; readonly stages: readonly number[] }
  | { readonly type: "step"; readonly stage: number; readonly event: StepEvent }
  /** Before the first step, and after the last. */
  | { readonly type: "line"; readonly text: string };
