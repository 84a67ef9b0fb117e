import type { RegistryCache } from "./server-cache.ts";
import type { RegistryRecords } from "./server-records.ts";
import type { Webhooks } from "./server-webhooks.ts";

/** Upper bounds of a request's duration, in seconds, as they are usual in Prometheus. */
const durationBounds = [0.005, 0.025, 0.1, 0.5, 2.5, 10, 60];

interface Durations {
  readonly buckets: number[];
  count: number;
  sum: number;
}

/** Counts requests, and prints them with what is kept in the text format of Prometheus (exposition format 0.0.4). */
export class RegistryMetrics {
  readonly #requests = new Map<string, number>();
  readonly #durations = new Map<string, Durations>();

  constructor(
    private readonly records: RegistryRecords,
    private readonly parts: {
      readonly webhooks?: Webhooks | undefined;
      readonly cache?: RegistryCache | undefined;
    } = {},
  ) {}

  /** `durationMs` is the time until the answer's head: a body may take as long as the client's network does. */
  count({ method, status, durationMs }: { method: string; status: number; durationMs: number }): void {
    // A method is the client's word: only known ones become names, or a client could make as many as it likes.
    const known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"].includes(method) ? method : "other";
    const labels = `method="${known}",status="${status}"`;
    this.#requests.set(labels, (this.#requests.get(labels) ?? 0) + 1);
    const seconds = durationMs / 1000;
    const durations = this.#durations.get(known) ?? { buckets: durationBounds.map(() => 0), count: 0, sum: 0 };
    durationBounds.forEach((bound, index) => {
      if (seconds <= bound) durations.buckets[index] = (durations.buckets[index] ?? 0) + 1;
    });
    durations.count++;
    durations.sum += seconds;
    this.#durations.set(known, durations);
  }

  toText(): string {
    const name = "vitrine_registry_request_duration_seconds";
    const { blobs, blobBytes, manifests, tags, uploads } = this.records.totals();
    const lines = [
      ...family("vitrine_registry_requests_total", "counter", "Requests that were answered"),
      ...[...this.#requests].map(([labels, count]) => `vitrine_registry_requests_total{${labels}} ${count}`),
      ...family(name, "histogram", "Time until the head of the answer"),
      ...[...this.#durations].flatMap(([method, { buckets, count, sum }]) => [
        ...buckets.map((value, index) => `${name}_bucket{method="${method}",le="${durationBounds[index]}"} ${value}`),
        `${name}_bucket{method="${method}",le="+Inf"} ${count}`,
        `${name}_sum{method="${method}"} ${sum}`,
        `${name}_count{method="${method}"} ${count}`,
      ]),
      ...gauge("vitrine_registry_blobs", "Blobs that are kept", blobs),
      ...gauge("vitrine_registry_blob_bytes", "Their bytes", blobBytes),
      ...gauge("vitrine_registry_manifests", "Manifests, in all repositories", manifests),
      ...gauge("vitrine_registry_tags", "Tags, in all repositories", tags),
      ...gauge("vitrine_registry_uploads", "Uploads in progress", uploads),
      ...this.#hookLines(),
      ...this.#cacheLines(),
    ];
    return `${lines.join("\n")}\n`;
  }

  #cacheLines(): string[] {
    const { cache } = this.parts;
    if (!cache) return [];
    const name = "vitrine_registry_cache_answers_total";
    return [
      ...family(name, "counter", "Manifests and blobs from here, from the upstream, and from here since it was down"),
      ...Object.entries(cache.counts).map(([outcome, count]) => `${name}{outcome="${outcome}"} ${count}`),
    ];
  }

  #hookLines(): string[] {
    const hooks = this.parts.webhooks?.counts() ?? [];
    if (hooks.length === 0) return [];
    const queue = "vitrine_registry_webhook_queue";
    const events = "vitrine_registry_webhook_events_total";
    return [
      ...family(queue, "gauge", "Events that wait for a webhook"),
      ...hooks.map(({ name, queued }) => `${queue}{webhook="${name}"} ${queued}`),
      ...family(events, "counter", "Events that were delivered or given up, and attempts that failed"),
      ...hooks.flatMap(({ name, counts }) =>
        Object.entries(counts).map(([outcome, count]) => `${events}{webhook="${name}",outcome="${outcome}"} ${count}`),
      ),
    ];
  }
}

function family(name: string, type: string, words: string): string[] {
  return [`# HELP ${name} ${words}`, `# TYPE ${name} ${type}`];
}

function gauge(name: string, words: string, value: number): string[] {
  return [...family(name, "gauge", words), `${name} ${value}`];
}
