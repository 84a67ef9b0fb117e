import { EngineError } from "../common/index.ts";
import type { BuildEvent } from "./progress.ts";

/** Above this writers are asked to wait; what comes from those that do not is kept up to the second limit. */
const comfortableBytes = 1024 * 1024;
export const maxQueuedBytes = 64 * 1024 * 1024;

/** Events of a build between those who make them and its one reader, in order. */
export class EventQueue {
  readonly #events: { event: BuildEvent; sizeBytes: number }[] = [];
  #sizeBytes = 0;
  #overflowed = false;
  #ended = false;
  #wake: () => void = () => {};
  readonly #waiting: (() => void)[] = [];

  /** A promise where the writer should wait for the reader. */
  push(event: BuildEvent, sizeBytes = 0): void | Promise<void> {
    if (this.#overflowed || this.#ended) return;
    this.#sizeBytes += sizeBytes;
    if (this.#sizeBytes > maxQueuedBytes) this.#overflowed = true;
    else this.#events.push({ event, sizeBytes });
    this.#wake();
    if (this.#sizeBytes > comfortableBytes) return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Ends when `work` has settled and all was read; the caller awaits `work` itself for its result. */
  async *until(work: Promise<unknown>): AsyncGenerator<BuildEvent> {
    let settled = false;
    const finish = (): void => {
      settled = true;
      this.#wake();
    };
    work.then(finish, finish);
    try {
      yield* this.#read(() => settled);
    } finally {
      this.#ended = true;
      this.#release();
    }
  }

  async *#read(isSettled: () => boolean): AsyncGenerator<BuildEvent> {
    for (;;) {
      const next = this.#events.shift();
      if (next) {
        this.#sizeBytes -= next.sizeBytes;
        if (this.#sizeBytes <= comfortableBytes) this.#release();
        yield next.event;
      } else if (this.#overflowed) {
        throw new EngineError("resourceExhausted", `More than ${maxQueuedBytes} bytes of output were not read`);
      } else if (isSettled()) {
        return;
      } else {
        await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    }
  }

  #release(): void {
    for (const resume of this.#waiting.splice(0)) resume();
  }
}
