import type { LayerHold } from "../image/index.ts";
import type { Snapshotter } from "../snapshot/index.ts";
import type { Paths } from "../common/index.ts";
import type { BuildCache, CacheRecord } from "./build-cache.ts";
import type { BuildProgress } from "./build-progress.ts";
import type { BuildLimits } from "./build-request.ts";
import type { CacheMounts } from "./cache-mounts.ts";
import type { Executor } from "./executor.ts";
import type { FailedStep } from "./failed-step.ts";
import type { HistoryCache } from "./history-cache.ts";
import type { InputTrees } from "./input-trees.ts";
import type { BuildSession } from "./session.ts";
import type { LazyLayers } from "./lazy-layers.ts";
import type { Slots } from "./slots.ts";
import type { Solver } from "./solver.ts";

/** One thing that a key was made of: what it is called, and its value or digest. */
export type Component = readonly [name: string, value: string];

/** What an operation gave. */
export interface Solved {
  /** chainID of the top layer; undefined is nothing. */
  readonly top: string | undefined;
  readonly cached: boolean;
  readonly createdMs: number;
  readonly containerId: string;
  /** Of what COPY and ADD took, in order. */
  readonly sourceDigests: readonly string[];
  /** What its key was made of. */
  readonly components: readonly Component[];
}

/** What operations of one build work with. */
export interface WorkContext {
  readonly snapshots: Snapshotter;
  readonly executor: Executor;
  readonly cache: BuildCache;
  readonly cacheMounts: CacheMounts;
  readonly paths: Paths;
  readonly slots: Slots;
  /** Work under way of every build, by key: whoever needs the same waits for it. */
  readonly inFlight: Map<string, Promise<CacheRecord>>;
  readonly hold: LayerHold;
  /** Of this build: those of caches elsewhere come when something is made of them. */
  readonly layers: LazyLayers;
  readonly histories: HistoryCache;
  /** Records that this build found or made, by key. */
  readonly used: Map<string, CacheRecord>;
  readonly trees: InputTrees;
  readonly progress: BuildProgress;
  readonly session: BuildSession;
  readonly limits: BuildLimits;
  /** Times are no later than this, in seconds since 1970. */
  readonly epoch: number | undefined;
  /** Where the client asked to look into a RUN that fails: makes an image of it. */
  readonly keepFailed?: ((step: FailedStep) => Promise<string>) | undefined;
  readonly solver: Solver<Solved>;
  readonly signal: AbortSignal;
}

/** What an operation makes when it is carried out. */
export interface Made {
  readonly top: string | undefined;
  readonly containerId: string;
}
