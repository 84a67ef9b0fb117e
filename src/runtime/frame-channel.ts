import type { Socket } from "bun";
import { EngineError } from "../common/index.ts";
import { SystemError, closeDescriptor, connectUnix, sendDescriptors } from "../kernel/index.ts";
import { type Frame, FrameParser, encodeFrame } from "./frames.ts";

/** Bytes that wait to be sent before `send` asks its caller to wait. */
const highWaterBytes = 256 * 1024;
const connectAttempts = 20;
const connectPauseMs = 5;

export interface FrameHandlers {
  frame(frame: Frame): void;
  /** Once, after the last frame. `error` when the stream broke rather than ended. */
  closed(error: Error | undefined): void;
}

/** A stream socket that carries frames both ways. Bytes wait here while the peer is slow; nothing is lost and nothing blocks. */
export class FrameChannel implements Disposable {
  readonly #parser = new FrameParser();
  readonly #handlers: FrameHandlers;
  #socket: Socket | undefined;
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #roomWaiters: (() => void)[] = [];
  #closed = false;

  private constructor(
    readonly descriptor: number,
    handlers: FrameHandlers,
  ) {
    this.#handlers = handlers;
  }

  /** Takes a connected stream socket as its own. */
  static async adopt(descriptor: number, handlers: FrameHandlers): Promise<FrameChannel> {
    const channel = new FrameChannel(descriptor, handlers);
    try {
      const options: Bun.FdSocketOptions = {
        fd: descriptor,
        allowHalfOpen: true,
        socket: {
          data: (_, chunk) => channel.#receive(chunk),
          drain: () => channel.#flush(),
          end: () => channel.#finish(undefined),
          close: () => channel.#finish(undefined),
          error: (_, error) => channel.#finish(error),
        },
      };
      // Documented and working, but the types of `connect` leave the descriptor out.
      channel.#socket = await Bun.connect(options as unknown as Bun.UnixSocketOptions);
    } catch (error) {
      closeDescriptor(descriptor);
      throw error;
    }
    return channel;
  }

  /** Connects to a monitor's socket. Throws unavailable when nobody listens there. */
  static async connect(path: string, handlers: FrameHandlers): Promise<FrameChannel> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await FrameChannel.adopt(connectUnix(path), handlers);
      } catch (cause) {
        // The listener's queue is full for a moment when many connect at once.
        const busy = cause instanceof SystemError && cause.data["errnoName"] === "EAGAIN";
        if (!busy || attempt === connectAttempts) {
          const why = cause instanceof Error ? cause.message : String(cause);
          throw new EngineError("unavailable", `The container's monitor does not answer: ${why}`, { cause });
        }
        await Bun.sleep(connectPauseMs);
      }
    }
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /** Queues a frame; resolves when there is room for more. On a closed channel it is dropped. */
  send(type: number, payload?: Uint8Array): Promise<void> {
    if (this.#closed) return Promise.resolve();
    this.#enqueue(encodeFrame(type, payload));
    this.#flush();
    if (this.#waitingBytes <= highWaterBytes) return Promise.resolve();
    return new Promise((resolve) => this.#roomWaiters.push(resolve));
  }

  /** Sends a frame together with descriptors (SCM_RIGHTS); they stay yours to close. Nothing may be waiting: use a fresh channel. */
  sendWithDescriptors(type: number, options: { payload: Uint8Array; descriptors: readonly number[] }): void {
    const bytes = encodeFrame(type, options.payload);
    if (this.#waitingBytes > 0) throw new Error("A frame with descriptors cannot overtake others");
    const sent = sendDescriptors(this.descriptor, bytes, options.descriptors);
    if (sent === bytes.length) return;
    this.#enqueue(bytes.subarray(sent));
    this.#flush();
  }

  /** No more is read until `resume`: the peer feels it once the kernel's buffer is full. */
  pause(): void {
    this.#socket?.pause();
  }

  resume(): void {
    this.#socket?.resume();
  }

  /** The peer reads the end of our bytes; frames may still come. */
  endOutput(): void {
    if (!this.#closed) this.#socket?.shutdown();
  }

  close(): void {
    if (this.#closed) return;
    this.#socket?.terminate();
    this.#finish(undefined);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #enqueue(bytes: Buffer): void {
    this.#waiting.push(bytes);
    this.#waitingBytes += bytes.length;
  }

  #flush(): void {
    while (this.#socket && !this.#closed) {
      const [first] = this.#waiting;
      if (!first) break;
      const sent = this.#socket.write(first);
      if (sent < 0) break;
      this.#waitingBytes -= sent;
      if (sent < first.length) {
        this.#waiting[0] = first.subarray(sent);
        return;
      }
      this.#waiting.shift();
    }
    if (this.#waitingBytes <= highWaterBytes) this.#releaseWaiters();
  }

  #releaseWaiters(): void {
    for (const resolve of this.#roomWaiters.splice(0)) resolve();
  }

  #receive(chunk: Uint8Array): void {
    if (this.#closed) return;
    try {
      for (const frame of this.#parser.push(chunk)) {
        if (this.#closed) return;
        this.#handlers.frame(frame);
      }
    } catch (error) {
      this.#socket?.terminate();
      this.#finish(error as Error);
    }
  }

  #finish(error: Error | undefined): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#socket?.terminate();
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#releaseWaiters();
    this.#handlers.closed(error);
  }
}
