import { EngineError } from "../common/index.ts";
import type { ProgressMessage } from "../spec/index.ts";
import { ProgressChannel } from "./progress-channel.ts";

export type Work = (tell: (message: ProgressMessage) => void, signal: AbortSignal) => Promise<void>;

interface Running {
  readonly watchers: Set<ProgressChannel>;
  /** What a client that comes later must be told: the last word of each id. */
  readonly told: Map<string, ProgressMessage>;
  readonly abort: AbortController;
  readonly done: Promise<void>;
}

/** Work that several clients may ask for at once: it is done once, all are told, and it ends when the last of them leaves. */
export class SharedWork {
  readonly #running = new Map<string, Running>();

  /** `left` says that this client is gone, also while there is nothing to tell it. */
  async *join(key: string, work: Work, left?: AbortSignal): AsyncGenerator<ProgressMessage> {
    const known = this.#running.get(key);
    // One that is being given up must be gone before the same begins anew.
    if (known?.abort.signal.aborted) await known.done.catch(() => {});
    const running = this.#running.get(key) ?? this.#start(key, work);
    const channel = new ProgressChannel();
    for (const message of running.told.values()) channel.push(message);
    running.watchers.add(channel);
    running.done.then(
      () => channel.end(),
      (error: unknown) => channel.fail(error),
    );
    const leave = (): void => channel.fail(new EngineError("cancelled", "The client has left"));
    left?.addEventListener("abort", leave, { once: true });
    if (left?.aborted) leave();
    try {
      yield* channel;
    } finally {
      left?.removeEventListener("abort", leave);
      running.watchers.delete(channel);
      if (running.watchers.size === 0 && this.#running.get(key) === running) {
        running.abort.abort(new EngineError("cancelled", "The last client that waited for it has left"));
        await running.done.catch(() => {});
      }
    }
  }

  #start(key: string, work: Work): Running {
    const abort = new AbortController();
    const watchers = new Set<ProgressChannel>();
    const told = new Map<string, ProgressMessage>();
    const tell = (message: ProgressMessage): void => {
      told.set(message.id ?? `\n${told.size}`, message);
      for (const watcher of watchers) watcher.push(message);
    };
    const done = Promise.resolve()
      .then(() => work(tell, abort.signal))
      .finally(() => this.#running.delete(key));
    done.catch(() => {});
    const running = { watchers, told, abort, done };
    this.#running.set(key, running);
    return running;
  }
}
