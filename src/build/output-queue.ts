import { EngineError } from "../common/index.ts";

/** Output that waits for a slow client; a command that prints more faster than it is read is stopped, not the engine. */
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
  #wake: () => void = () => {};

  push(piece: OutputPiece): void {
    if (this.#overflowed) return;
    this.#sizeBytes += piece.data.length;
    if (this.#sizeBytes > maxQueuedOutputBytes) this.#overflowed = true;
    else this.#pieces.push({ stream: piece.stream, data: Uint8Array.from(piece.data) });
    this.#wake();
  }

  /** Ends when `work` has settled and all was read; the caller awaits `work` itself for its result. */
  async *until(work: Promise<unknown>): AsyncGenerator<OutputPiece> {
    let settled = false;
    const finish = (): void => {
      settled = true;
      this.#wake();
    };
    work.then(finish, finish);
    for (;;) {
      const piece = this.#pieces.shift();
      if (piece) {
        this.#sizeBytes -= piece.data.length;
        yield piece;
      } else if (this.#overflowed) {
        throw new EngineError("resourceExhausted", `More than ${maxQueuedOutputBytes} bytes of output were not read`);
      } else if (settled) {
        return;
      } else {
        await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    }
  }
}
