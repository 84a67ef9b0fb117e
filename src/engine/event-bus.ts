import { EngineError } from "../common/index.ts";
import type { EventMessage } from "../spec/index.ts";
import type { Filters } from "./contract.ts";
import { requireKnownFilters } from "./known-filters.ts";

/** As in dockerd: what a client that asks with `since` can still see. */
const keptEvents = 256;
/** A listener that reads this slowly is told that it lost events, by the end of its stream. */
const maxQueuedEvents = 10_000;

type Listener = (event: EventMessage) => void;

/** Past events for a while, live ones to whoever listens. */
export class EventBus {
  readonly #past: EventMessage[] = [];
  readonly #listeners = new Set<Listener>();
  /** The engine's own, beside clients. */
  readonly #watchers = new Set<Listener>();

  get listenerCount(): number {
    return this.#listeners.size;
  }

  publish(type: string, action: string, actor: { id: string; attributes?: Readonly<Record<string, string>> }): void {
    const now = Date.now();
    const event: EventMessage = {
      ...(type === "container" || type === "image" ? { status: action, id: actor.id } : {}),
      ...(type === "container" && actor.attributes?.image ? { from: actor.attributes.image } : {}),
      Type: type,
      Action: action,
      Actor: { ID: actor.id, Attributes: { ...actor.attributes } },
      scope: "local",
      time: Math.floor(now / 1000),
      timeNano: now * 1_000_000,
    };
    this.#past.push(event);
    if (this.#past.length > keptEvents) this.#past.shift();
    for (const listener of [...this.#listeners, ...this.#watchers]) listener(event);
  }

  /** Tells of every event as it happens. Answers how to end that. */
  subscribe(listener: Listener): () => void {
    this.#watchers.add(listener);
    return () => void this.#watchers.delete(listener);
  }

  /** Throws for an unknown filter before anything is streamed. */
  stream(
    options: { since?: number; until?: number; filters: Filters },
    signal?: AbortSignal,
  ): AsyncGenerator<EventMessage> {
    requireKnownFilters(options.filters, [
      "type",
      "event",
      "container",
      "volume",
      "network",
      "image",
      "label",
      "scope",
    ]);
    return this.#listen(options, signal);
  }

  async *#listen(
    options: { since?: number; until?: number; filters: Filters },
    signal?: AbortSignal,
  ): AsyncGenerator<EventMessage> {
    const queue: EventMessage[] = [];
    let wake = (): void => {};
    const listener: Listener = (event) => {
      queue.push(event);
      wake();
    };
    this.#listeners.add(listener);
    if (options.since !== undefined)
      queue.push(...this.#past.filter((event) => event.timeNano / 1e9 >= (options.since ?? 0)));
    const deadline =
      options.until === undefined
        ? undefined
        : setTimeout(() => wake(), Math.max(0, options.until * 1000 - Date.now()));
    const onAbort = (): void => wake();
    signal?.addEventListener("abort", onAbort);
    try {
      for (;;) {
        if (queue.length > maxQueuedEvents)
          throw new EngineError("resourceExhausted", "This listener reads events too slowly and has lost some");
        const event = queue.shift();
        if (event) {
          if (options.until !== undefined && event.timeNano / 1e9 > options.until) return;
          if (matches(event, options.filters)) yield event;
          continue;
        }
        if (signal?.aborted) return;
        if (options.until !== undefined && Date.now() >= options.until * 1000) return;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    } finally {
      this.#listeners.delete(listener);
      clearTimeout(deadline);
      signal?.removeEventListener("abort", onAbort);
    }
  }
}

function matches(event: EventMessage, filters: Filters): boolean {
  for (const [name, wanted] of filters) {
    if (wanted.length > 0 && !wanted.some((value) => matchesOne(event, name, value))) return false;
  }
  return true;
}

function matchesOne(event: EventMessage, filter: string, value: string): boolean {
  const { ID: id, Attributes: attributes } = event.Actor;
  const names = (type: string): boolean =>
    event.Type === type && (id === value || id.startsWith(value) || attributes.name === value);
  switch (filter) {
    case "type":
      return event.Type === value;
    case "event":
      return event.Action === value || event.Action.startsWith(`${value}:`);
    case "container":
    case "volume":
    case "network":
      return names(filter);
    case "image":
      return (event.Type === "image" && (id === value || attributes.name === value)) || attributes.image === value;
    case "label": {
      const [key = "", wanted] = value.split(/=(.*)/s);
      return key in attributes && (wanted === undefined || attributes[key] === wanted);
    }
    case "scope":
      return event.scope === value;
    default:
      throw new EngineError("invalidArgument", `invalid filter '${filter}'`);
  }
}
