import { EngineError } from "../common/index.ts";
import type { TracedOp } from "../spec/index.ts";
import type { MonitorConnection } from "../runtime/index.ts";
import type { ContainerRecord } from "./container-record.ts";
import { Mutex } from "./mutex.ts";

export interface ExitResult {
  readonly exitCode: number;
  readonly error?: string;
}

/** A client that attached before the container runs: it is connected when the process waits for leave to go on. */
export type PendingAttachment = (socketPath: string) => Promise<void>;

/** What the daemon's memory holds of a container beside its record: all of it can be made anew from record and monitor. */
export class LiveContainer {
  /** One change of state at a time. */
  readonly changes = new Mutex();
  readonly pendingAttachments = new Set<PendingAttachment>();
  monitor: MonitorConnection | undefined;
  /** Why there is no connection although it runs: its monitor speaks another protocol. */
  monitorRefusal: EngineError | undefined;
  /** What the last start did, for `--trace`. */
  trace: readonly TracedOp[] = [];
  /** The network and cgroup of the last run are being given back; the next start waits for it. */
  teardown: Promise<void> = Promise.resolve();
  restartTimer: ReturnType<typeof setTimeout> | undefined;
  /** Delay before the next automatic restart, doubled by each quick failure. */
  restartDelayMs = 0;
  readonly execIds = new Set<string>();
  readonly #readers = new Set<Promise<void>>();
  readonly #exitWaiters = new Set<(result: ExitResult) => void>();
  readonly #stopWaiters = new Set<(result: ExitResult) => void>();
  readonly #failureWaiters = new Set<(result: ExitResult) => void>();
  readonly #removalWaiters = new Set<(result: ExitResult) => void>();

  constructor(readonly record: ContainerRecord) {}

  /** The next exit, whether or not a restart follows. */
  nextExit(): Promise<ExitResult> {
    return new Promise((resolve) => this.#exitWaiters.add(resolve));
  }

  /** The exit after which it stays down; also when it is removed. */
  nextStop(): Promise<ExitResult> {
    return new Promise((resolve) => this.#stopWaiters.add(resolve));
  }

  /** The next start that fails. */
  startFailed(): Promise<ExitResult> {
    return new Promise((resolve) => this.#failureWaiters.add(resolve));
  }

  /** A client reads this container's output, from its log perhaps, until the promise settles. */
  addReader(finished: Promise<void>): void {
    this.#readers.add(finished);
    void finished.finally(() => this.#readers.delete(finished));
  }

  /** Resolves when no client reads any more: `--rm` must not take the log away from one that is slow. */
  async untilRead(): Promise<void> {
    while (this.#readers.size > 0) await Promise.allSettled(this.#readers);
  }

  announceStartFailure(result: ExitResult): void {
    settle(this.#failureWaiters, result);
  }

  removal(): Promise<ExitResult> {
    return new Promise((resolve) => this.#removalWaiters.add(resolve));
  }

  announceExit(result: ExitResult, options: { restarting: boolean }): void {
    settle(this.#exitWaiters, result);
    if (!options.restarting) settle(this.#stopWaiters, result);
  }

  announceRemoval(result: ExitResult): void {
    settle(this.#exitWaiters, result);
    settle(this.#stopWaiters, result);
    settle(this.#removalWaiters, result);
  }
}

export function notRunning({ record }: LiveContainer): EngineError {
  return new EngineError("conflict", `Container ${record.id} is not running`);
}

function settle(waiters: Set<(result: ExitResult) => void>, result: ExitResult): void {
  for (const resolve of waiters) resolve(result);
  waiters.clear();
}
