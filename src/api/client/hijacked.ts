import type { ByteSocket } from "./byte-socket.ts";
import { type OutputFrame, readFrames } from "./frames.ts";

/** A connection that has left HTTP: raw bytes both ways, as attach and exec use it. */
export class HijackedConnection implements Disposable {
  readonly #socket: ByteSocket;
  /** Whether output comes in frames of stdout and stderr; without it all output is one raw stream. */
  readonly multiplexed: boolean;

  /** Engines before API 1.42 call every stream raw, so it is the terminal that decides, as in docker's client. */
  constructor(socket: ByteSocket, tty: boolean) {
    this.#socket = socket;
    this.multiplexed = !tty;
  }

  /** Output until the engine closes its side. */
  async *output(): AsyncGenerator<OutputFrame> {
    if (this.multiplexed) {
      yield* readFrames(this.#bytes());
      return;
    }
    for await (const data of this.#bytes()) yield { stream: "stdout", data };
  }

  write(data: Uint8Array): Promise<void> {
    return this.#socket.write(data);
  }

  /** Half-close: the process sees the end of its input, output goes on. */
  closeInput(): Promise<void> {
    return this.#socket.closeWrite();
  }

  close(): void {
    this.#socket.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async *#bytes(): AsyncGenerator<Uint8Array> {
    for (let chunk; (chunk = await this.#socket.read());) yield chunk;
  }
}
