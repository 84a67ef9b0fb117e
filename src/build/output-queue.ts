import { EngineError } from "../common/index.ts";

/** Above this the executor is asked to wait; output of one that does not is kept up to the second limit. */
const comfortableBytes = 1024 * 1024;
export const maxQueuedOutputBytes = 64 * 1024 * 1024;

export interface OutputPiece {
  readonly stream: "stdout" | "stderr";
  readonly data: Uint8Array;
}

/** Turns an executor's calls back into a stream: pieces in order, until the work that makes them has settled. */
export class OutputQueue {
  readonly #pieces: OutputPiece[] = [];
  #sizeBytes = 0;
  #overflowed = false;
  #ended = false;
  #wake: () => void = () => {};
  readonly #waiting: (() => void)[] = [];

  /** A promise where the writer should wait for the reader. */
  push(piece: OutputPiece): void | Promise<void> {
    if (this.#overflowed || this.#ended) return;
    this.#sizeBytes += piece.data.length;
    if (this.#sizeBytes > maxQueuedOutputBytes) this.#overflowed = true;
    else this.#pieces.push({ stream: piece.stream, data: Uint8Array.from(piece.data) });
    this.#wake();
    if (this.#sizeBytes > comfortableBytes) return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Ends when `work` has settled and all was read; the caller awaits `work` itself for its result. */
  async *until(work: Promise<unknown>): AsyncGenerator<OutputPiece> {
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

  async *#read(isSettled: () => boolean): AsyncGenerator<OutputPiece> {
    for (;;) {
      const piece = this.#pieces.shift();
      if (piece) {
        this.#sizeBytes -= piece.data.length;
        if (this.#sizeBytes <= comfortableBytes) this.#release();
        yield piece;
      } else if (this.#overflowed) {
        throw new EngineError("resourceExhausted", `More than ${maxQueuedOutputBytes} bytes of output were not read`);
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
