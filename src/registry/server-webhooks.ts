import { Database } from "bun:sqlite";
import { randomUUID } from "node:crypto";
import { envelopeType, toEnvelope, type Cause, type EventSource, type Happening } from "./server-events.ts";
import { isWanted, type WebhookSettings } from "./server-webhook-settings.ts";

const schema = `CREATE TABLE IF NOT EXISTS deliveries (
  id INTEGER PRIMARY KEY AUTOINCREMENT, hook TEXT NOT NULL, body TEXT NOT NULL, created_at INTEGER NOT NULL
) STRICT; CREATE INDEX IF NOT EXISTS deliveries_by_hook ON deliveries (hook, id)`;

/** Events that wait for one place; the oldest goes when one more comes. */
export const maxQueued = 10_000;
const maxBackoffMs = 300_000;
/** After a day nobody waits for the news of it. */
const maxAgeMs = 24 * 3_600_000;
/** Answers that will not change by asking again: a few attempts, since a deployment may be under way. */
const maxRefusals = 3;
const queueFailureMs = 5000;
const passingStatuses = [408, 425, 429];

interface Delivery {
  readonly id: number;
  readonly body: string;
  readonly createdAtMs: number;
}

export interface WebhookCounts {
  delivered: number;
  failed: number;
  dropped: number;
}

export interface WebhookOptions {
  /** A SQLite file: what was not delivered outlives the server. */
  readonly path: string;
  readonly hooks: readonly WebhookSettings[];
  /** `host:port` of this registry. */
  readonly address: string;
  readonly log: (level: "info" | "error", message: string) => void;
}

/**
 * Tells other programs what happens here: each place has a queue of its own, sent in order, one at a time, tried again with growing
 * waits. An event is in the queue, on disk, before the client has its answer, and leaves it when the place answered 2xx: a place may
 * be told twice, after a crash, and events have ids.
 *
 *     using hooks = new Webhooks({ path, hooks, address, log });
 *     hooks.tell({ action: "push", kind: "manifest", repository, digest, tag }, { request, actor: "ann" });
 */
export class Webhooks implements AsyncDisposable {
  readonly #db: Database;
  readonly #source: EventSource;
  readonly #counts = new Map<string, WebhookCounts>();
  readonly #stop = new AbortController();
  readonly #senders: Promise<void>[];
  /** Wakes a sender that has nothing to send. */
  readonly #wake = new Map<string, () => void>();

  constructor(private readonly options: WebhookOptions) {
    this.#db = new Database(options.path, { create: true, strict: true });
    for (const pragma of ["busy_timeout = 5000", "journal_mode = WAL", "synchronous = FULL"])
      this.#db.exec(`PRAGMA ${pragma}`);
    this.#db.exec(schema);
    this.#source = { addr: options.address, instanceID: randomUUID() };
    this.#forgetOthers();
    for (const { name } of options.hooks) this.#counts.set(name, { delivered: 0, failed: 0, dropped: 0 });
    this.#senders = options.hooks.map((hook) => this.#send(hook));
  }

  /** Queues what each place wants to know of it. */
  tell(happening: Happening, cause: Cause): void {
    const wanting = this.options.hooks.filter((hook) => isWanted(hook, happening));
    if (wanting.length === 0) return;
    const body = toEnvelope(happening, cause, this.#source);
    this.#db.transaction(() => {
      for (const { name } of wanting) this.#enqueue(name, body);
    })();
    for (const { name } of wanting) this.#wake.get(name)?.();
  }

  /** For the metrics. */
  counts(): { name: string; queued: number; counts: WebhookCounts }[] {
    return [...this.#counts].map(([name, counts]) => ({ name, counts, queued: this.#queued(name) }));
  }

  /** Gives up what is being sent; it stays in the queue. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    for (const wake of this.#wake.values()) wake();
    await Promise.all(this.#senders);
    this.#db.close();
  }

  #enqueue(hook: string, body: string): void {
    this.#db.query("INSERT INTO deliveries (hook, body, created_at) VALUES (?, ?, ?)").run(hook, body, Date.now());
    if (this.#queued(hook) <= maxQueued) return;
    this.#db.query("DELETE FROM deliveries WHERE id = (SELECT min(id) FROM deliveries WHERE hook = ?)").run(hook);
    this.#drop(hook, `${maxQueued} events wait for it, and no more are kept`);
  }

  /** What waits for a place that is not configured any more will never be sent. */
  #forgetOthers(): void {
    const names = JSON.stringify(this.options.hooks.map(({ name }) => name));
    this.#db.query("DELETE FROM deliveries WHERE hook NOT IN (SELECT value FROM json_each(?))").run(names);
  }

  async #send(hook: WebhookSettings): Promise<void> {
    const state = { id: 0, attempt: 0 };
    while (!this.#stop.signal.aborted) {
      try {
        await this.#pause(hook.name, await this.#sendNext(hook, state));
      } catch (error) {
        // The queue itself failed, as on a full disk.
        this.options.log("error", `The queue of the webhook "${hook.name}" failed: ${(error as Error).message}`);
        await this.#pause(hook.name, queueFailureMs);
      }
    }
  }

  /** How long to wait then: 0 for not at all, undefined until there is something to send. */
  async #sendNext(hook: WebhookSettings, state: { id: number; attempt: number }): Promise<number | undefined> {
    const delivery = this.#next(hook.name);
    if (!delivery) return undefined;
    state.attempt = delivery.id === state.id ? state.attempt + 1 : 1;
    state.id = delivery.id;
    const failure = await this.#attempt(hook, delivery.body);
    if (this.#stop.signal.aborted) return 0;
    const counts = this.#counts.get(hook.name);
    if (failure === undefined) {
      this.#remove(delivery);
      if (counts) counts.delivered++;
      return 0;
    }
    if (counts) counts.failed++;
    if (state.attempt === 1) {
      this.options.log("error", `The webhook "${hook.name}" failed, and is tried again: ${failure.why}`);
    }
    const isOld = Date.now() - delivery.createdAtMs > maxAgeMs;
    if (isOld || (failure.isFinal && state.attempt >= maxRefusals)) {
      this.#remove(delivery);
      this.#drop(hook.name, failure.why);
      return 0;
    }
    // The queue's other events wait as well, so that their order stays.
    return Math.min(maxBackoffMs, hook.backoffMs * 2 ** Math.min(state.attempt - 1, 20));
  }

  /** Undefined when the place took it. */
  async #attempt(hook: WebhookSettings, body: string): Promise<{ why: string; isFinal: boolean } | undefined> {
    try {
      const response = await fetch(hook.url, {
        method: "POST",
        body,
        headers: { "Content-Type": envelopeType, "User-Agent": "vitrine-registry", ...hook.headers },
        redirect: "manual",
        signal: AbortSignal.any([this.#stop.signal, AbortSignal.timeout(hook.timeoutMs)]),
      });
      await response.body?.cancel();
      if (response.ok) return undefined;
      const isFinal = response.status < 500 && !passingStatuses.includes(response.status);
      return { why: `it answers with ${response.status}`, isFinal };
    } catch (error) {
      return { why: (error as Error).message, isFinal: false };
    }
  }

  #next(hook: string): Delivery | undefined {
    const sql = "SELECT id, body, created_at AS createdAtMs FROM deliveries WHERE hook = ? ORDER BY id LIMIT 1";
    return this.#db.query<Delivery, [string]>(sql).get(hook) ?? undefined;
  }

  #remove({ id }: Delivery): void {
    this.#db.query("DELETE FROM deliveries WHERE id = ?").run(id);
  }

  #queued(hook: string): number {
    const sql = "SELECT count(*) AS count FROM deliveries WHERE hook = ?";
    return this.#db.query<{ count: number }, [string]>(sql).get(hook)?.count ?? 0;
  }

  #drop(hook: string, why: string): void {
    const counts = this.#counts.get(hook);
    if (counts) counts.dropped++;
    this.options.log("error", `An event for the webhook "${hook}" is given up: ${why}`);
  }

  /** Until that time has passed; without one, until there is something to send. */
  async #pause(hook: string, waitMs: number | undefined): Promise<void> {
    if (waitMs === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = waitMs === undefined ? undefined : setTimeout(resolve, waitMs);
    timer?.unref();
    const stop = (): void => resolve();
    this.#stop.signal.addEventListener("abort", stop, { once: true });
    if (waitMs === undefined) {
      this.#wake.set(hook, resolve);
      // Something may have come between the look into the queue and here.
      if (this.#next(hook)) resolve();
    }
    await promise;
    this.#stop.signal.removeEventListener("abort", stop);
    clearTimeout(timer);
    this.#wake.delete(hook);
  }
}
