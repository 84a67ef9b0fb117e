import { EngineError } from "../../common/index.ts";
import { type EngineAddress, formatAddress } from "./address.ts";

/** Received bytes that nobody has read yet; beyond it the kernel is told to wait. */
const maxBufferedBytes = 1024 * 1024;

type BunSocket = Awaited<ReturnType<typeof Bun.connect>>;

/**
 * A connected stream socket with pulled reads and awaited writes.
 *
 *     using socket = await ByteSocket.open(address);
 *     await socket.write(bytes);
 *     for (let chunk; (chunk = await socket.read()); ) …
 */
export class ByteSocket implements Disposable {
  #socket: BunSocket | undefined;
  #received: Uint8Array[] = [];
  #receivedBytes = 0;
  #paused = false;
  #ended = false;
  #failure: Error | undefined;
  #reader: (() => void) | undefined;
  #drained: (() => void) | undefined;
  #writing: Promise<void> = Promise.resolve();

  private constructor() {}

  /** Throws unavailable, with Docker's words, when nothing answers at the address. */
  static async open(address: EngineAddress): Promise<ByteSocket> {
    const byteSocket = new ByteSocket();
    const handler = byteSocket.#handler();
    try {
      byteSocket.#socket =
        address.kind === "unix"
          ? await Bun.connect({ unix: address.path, allowHalfOpen: true, socket: handler })
          : await Bun.connect({ hostname: address.host, port: address.port, allowHalfOpen: true, socket: handler });
    } catch (thrown) {
      throw connectFailure(address, thrown);
    }
    return byteSocket;
  }

  /** The next bytes, undefined at the end of the stream. */
  async read(): Promise<Uint8Array | undefined> {
    for (;;) {
      const chunk = this.#received.shift();
      if (chunk) {
        this.#receivedBytes -= chunk.length;
        if (this.#paused && this.#receivedBytes < maxBufferedBytes / 2) {
          this.#paused = false;
          this.#socket?.resume();
        }
        return chunk;
      }
      if (this.#failure) throw new EngineError("unavailable", `error during connect: ${this.#failure.message}`);
      if (this.#ended) return undefined;
      await new Promise<void>((resolve) => (this.#reader = resolve));
    }
  }

  /** Puts bytes back in front of what `read` gives next. */
  unread(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    this.#received.unshift(chunk);
    this.#receivedBytes += chunk.length;
  }

  /** Resolves once the kernel has taken all bytes. Calls are served in order. Throws unavailable when the peer is gone. */
  write(data: Uint8Array): Promise<void> {
    const turn = this.#writing.then(() => this.#writeNow(data));
    this.#writing = turn.catch(() => {});
    return turn;
  }

  /** No more bytes follow; reading goes on. */
  async closeWrite(): Promise<void> {
    await this.#writing;
    this.#socket?.shutdown();
  }

  get isOpen(): boolean {
    return !this.#ended && !this.#failure;
  }

  close(): void {
    this.#ended = true;
    this.#socket?.terminate();
    this.#socket = undefined;
    this.#wake();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async #writeNow(data: Uint8Array): Promise<void> {
    let rest = data;
    while (rest.length > 0) {
      const socket = this.#socket;
      if (!socket || this.#failure) throw new EngineError("unavailable", "The engine closed the connection");
      const drained = new Promise<void>((resolve) => (this.#drained = resolve));
      const taken = socket.write(rest);
      if (taken < 0) throw new EngineError("unavailable", "The engine closed the connection");
      rest = rest.subarray(taken);
      if (rest.length > 0) await drained;
    }
  }

  #handler(): Bun.SocketHandler<undefined> {
    return {
      data: (socket, chunk) => {
        this.#received.push(new Uint8Array(chunk));
        this.#receivedBytes += chunk.length;
        if (this.#receivedBytes > maxBufferedBytes && !this.#paused) {
          this.#paused = true;
          socket.pause();
        }
        this.#wakeReader();
      },
      drain: () => this.#drained?.(),
      end: () => {
        this.#ended = true;
        this.#wakeReader();
      },
      close: () => {
        this.#ended = true;
        this.#socket = undefined;
        this.#wake();
      },
      error: (_socket, error) => {
        this.#failure = error;
        this.#wake();
      },
    };
  }

  #wakeReader(): void {
    const reader = this.#reader;
    this.#reader = undefined;
    reader?.();
  }

  #wake(): void {
    this.#wakeReader();
    this.#drained?.();
  }
}

function connectFailure(address: EngineAddress, thrown: unknown): EngineError {
  const code = (thrown as { code?: string }).code ?? "";
  const where = formatAddress(address);
  const data = { address: where, errno: code };
  if (code === "EACCES" || code === "EPERM") {
    return new EngineError(
      "permissionDenied",
      `permission denied while trying to connect to the engine's socket at ${where}`,
      { cause: thrown, data },
    );
  }
  return new EngineError("unavailable", `Cannot connect to the engine at ${where}. Is the daemon running?`, {
    cause: thrown,
    data,
  });
}
