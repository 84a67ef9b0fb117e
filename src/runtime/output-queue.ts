/** A position in a container's log: the inode number of one of its files, which it keeps when it is rotated, and a byte in it. */
export interface LogPosition {
  readonly inode: bigint;
  readonly offset: number;
}

/** What comes out of a container: bytes, or word that this client was too slow and goes on by reading the log from there. */
export type OutputEvent =
  | { readonly kind: "data"; readonly stream: "stdout" | "stderr"; readonly data: Uint8Array }
  | { readonly kind: "lagging"; readonly position: LogPosition };

/** Bytes held for a reader that is slower than the container, before the container's monitor is made to wait. */
const highWaterBytes = 256 * 1024;

/** Output between a socket that pushes and one reader that pulls; it asks the socket to pause when the reader is behind. */
export class OutputQueue implements AsyncIterable<OutputEvent> {
  #events: OutputEvent[] = [];
  #bytes = 0;
  #ended = false;
  #wake: (() => void) | undefined;
  #paused = false;

  constructor(private readonly flow: { pause(): void; resume(): void }) {}

  push(event: OutputEvent): void {
    if (this.#ended) return;
    this.#events.push(event);
    if (event.kind === "data") this.#bytes += event.data.length;
    if (this.#bytes > highWaterBytes && !this.#paused) {
      this.#paused = true;
      this.flow.pause();
    }
    this.#wake?.();
  }

  /** No more will come; what is held can still be read. */
  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<OutputEvent> {
    for (;;) {
      const event = this.#events.shift();
      if (event) {
        this.#release(event);
        yield event;
      } else if (this.#ended) {
        return;
      } else {
        await new Promise<void>((resolve) => (this.#wake = resolve));
        this.#wake = undefined;
      }
    }
  }

  #release(event: OutputEvent): void {
    if (event.kind === "data") this.#bytes -= event.data.length;
    if (this.#paused && this.#bytes <= highWaterBytes / 2) {
      this.#paused = false;
      this.flow.resume();
    }
  }
}
