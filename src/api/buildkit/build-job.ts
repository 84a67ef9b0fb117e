import type { BuildResult, BuildStatus, CacheTarget, Exported } from "../../build/index.ts";
import { EngineError } from "../../common/index.ts";
import type { Definition } from "./graph-messages.ts";
import type { BuildSource } from "./build-error.ts";

/** What a build that a client asked for left, and whatever a frontend says beside it. */
export interface JobResult {
  /** Undefined for a result without files. */
  readonly exported: (Exported & Pick<BuildResult, "cacheManifest">) | undefined;
  readonly metadata: ReadonlyMap<string, Uint8Array>;
}

/** Progress that a late listener still gets: more than this of output is cut at its front. */
const maxKeptStatuses = 50_000;

/**
 * One Solve of a client, by its reference. Its progress is kept from the start, since clients ask for it in a call of its own; a build
 * that the client drives itself ends when the client returns a result.
 */
export class BuildJob {
  readonly #statuses: BuildStatus[] = [];
  #dropped = 0;
  #listeners = new Set<() => void>();
  #ended = false;
  readonly #returned = Promise.withResolvers<JobResult>();
  readonly results = new Map<string, JobResult>();
  #nextResult = 0;
  #entitlements: readonly string[] = [];
  /** Told of all progress. */
  onStatus: ((status: BuildStatus) => void) | undefined;
  /** Graphs that the client gave its frontend, by name. */
  inputs: ReadonlyMap<string, Definition | undefined> = new Map();
  /** The Dockerfile, once the build has read it. */
  source: BuildSource | undefined;
  #cacheTo: readonly CacheTarget[] = [];

  constructor(
    readonly reference: string,
    readonly sessionId: string,
    /** Aborts when the client has given up, or is gone. */
    readonly signal: AbortSignal,
  ) {
    // Nobody may be waiting for a result yet.
    this.#returned.promise.catch(() => {});
  }

  get ended(): boolean {
    return this.#ended;
  }

  get entitlements(): readonly string[] {
    return this.#entitlements;
  }

  /** What the client lets the build do beyond the usual. */
  allow(entitlements: readonly string[]): void {
    this.#entitlements = entitlements;
  }

  /** Where what the build made is to be kept, beside here. */
  get cacheTo(): readonly CacheTarget[] {
    return this.#cacheTo;
  }

  keepCacheIn(targets: readonly CacheTarget[]): void {
    this.#cacheTo = targets;
  }

  tell(status: BuildStatus): void {
    this.onStatus?.(status);
    this.#statuses.push(status);
    if (this.#statuses.length > maxKeptStatuses) {
      this.#statuses.shift();
      this.#dropped += 1;
    }
    this.#wake();
  }

  /** All progress from the beginning, until the job has ended. */
  async *progress(signal: AbortSignal): AsyncGenerator<BuildStatus> {
    let next = 0;
    while (!signal.aborted) {
      next = Math.max(next, this.#dropped);
      const status = this.#statuses[next - this.#dropped];
      if (status) {
        next += 1;
        yield status;
        continue;
      }
      if (this.#ended) return;
      await this.#changed(signal);
    }
  }

  /** Keeps a result; returns what the client calls it by. */
  keep(result: JobResult): string {
    this.#nextResult += 1;
    const id = `${this.reference}-${this.#nextResult}`;
    this.results.set(id, result);
    return id;
  }

  result(id: string): JobResult {
    const result = this.results.get(id);
    if (!result) throw new EngineError("notFound", `no such ref: "${id}"`);
    return result;
  }

  return(result: JobResult): void {
    this.#returned.resolve(result);
  }

  fail(error: EngineError): void {
    this.#returned.reject(error);
  }

  /** What the client returned; throws what it failed by, cancelled when it gave up. */
  async returned(): Promise<JobResult> {
    const gaveUp = (): void => this.fail(new EngineError("cancelled", "The build was cancelled: its client is gone"));
    this.signal.addEventListener("abort", gaveUp, { once: true });
    if (this.signal.aborted) gaveUp();
    return this.#returned.promise;
  }

  end(): void {
    this.#ended = true;
    this.#wake();
  }

  #wake(): void {
    for (const listener of this.#listeners) listener();
  }

  async #changed(signal: AbortSignal): Promise<void> {
    const changed = Promise.withResolvers<void>();
    this.#listeners.add(changed.resolve);
    const resolve = (): void => changed.resolve();
    signal.addEventListener("abort", resolve, { once: true });
    await changed.promise;
    signal.removeEventListener("abort", resolve);
    this.#listeners.delete(changed.resolve);
  }
}

/** A build that fails at once has ended before its client asks for its progress. */
const rememberedMs = 8000;
/** A client's other calls may arrive before the one that starts the job. */
const arrivalMs = 5000;

/** The jobs under way, and those that ended a moment ago. Disposing of what `add` returns ends the job. */
export class BuildJobs {
  readonly #jobs = new Map<string, BuildJob>();
  readonly #waiting = new Map<string, Set<() => void>>();

  /** Throws alreadyExists for a reference in use. */
  add(job: BuildJob): Disposable {
    const { reference } = job;
    if (reference === "") throw new EngineError("invalidArgument", "The build has no reference");
    if (this.#jobs.get(reference)?.ended === false) {
      throw new EngineError("alreadyExists", `build "${reference}" is under way already`);
    }
    this.#jobs.set(reference, job);
    for (const tell of this.#waiting.get(reference) ?? []) tell();
    return {
      [Symbol.dispose]: () => {
        job.end();
        const forget = (): void => void (this.#jobs.get(reference) === job && this.#jobs.delete(reference));
        setTimeout(forget, rememberedMs).unref();
      },
    };
  }

  has(reference: string): boolean {
    return this.#jobs.has(reference);
  }

  /** Waits a few seconds for a job that is about to start. Throws notFound. */
  async find(reference: string): Promise<BuildJob> {
    if (!this.#jobs.has(reference)) {
      const arrived = Promise.withResolvers<void>();
      const waiting = this.#waiting.get(reference) ?? new Set();
      this.#waiting.set(reference, waiting.add(arrived.resolve));
      const timer = setTimeout(arrived.resolve, arrivalMs);
      await arrived.promise;
      clearTimeout(timer);
      waiting.delete(arrived.resolve);
      if (waiting.size === 0) this.#waiting.delete(reference);
    }
    const job = this.#jobs.get(reference);
    if (!job) throw new EngineError("notFound", `no such job ${reference}`);
    return job;
  }
}
