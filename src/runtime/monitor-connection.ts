import { EngineError } from "../common/index.ts";
import { errnoName, errnoText } from "../kernel/index.ts";
import type { Plan, PlanSettings } from "../spec/index.ts";
import { type ExecSession, startExecSession } from "./exec-session.ts";
import { type ExitRecord, decodeExit } from "./exit-record.ts";
import { FrameChannel } from "./frame-channel.ts";
import { type Frame, decodeFields, encodeFields, frameType, monitorProtocol } from "./frames.ts";
import { type LogPosition, type OutputEvent, OutputQueue } from "./output-queue.ts";

/** What a monitor says of itself when somebody connects. */
export interface MonitorHello {
  readonly protocol: number;
  readonly planVersion: number;
  readonly opSet: number;
  readonly containerId: string;
  /** 0 before the container has started. */
  readonly pid: number;
  readonly logOffset: number;
}

export interface AttachStreams {
  readonly stdin?: boolean;
  readonly stdout?: boolean;
  readonly stderr?: boolean;
}

const stdinFrameBytes = 32 * 1024;

/**
 * One connection to a container's monitor. Connect; `subscribe` to learn the exit, or `attach` and then read `output` and
 * `write`; ask the rest at any time; `close`. Use a connection of its own for each attached client: a client that does not read
 * its output holds up only that connection. Requests throw unavailable once the monitor is gone.
 */
export class MonitorConnection implements Disposable {
  /** Output since `attach`. One reader. Ends when the container has stopped, or the connection. */
  readonly output: AsyncIterable<OutputEvent>;
  /** Resolves when the monitor tells the exit (after `subscribe`), or with undefined when it went away without a word. */
  readonly exited: Promise<ExitRecord | undefined>;
  /** Resolves when the connection has ended: of the one that started the monitor, when the monitor has undone its mounts and is gone. */
  readonly closed: Promise<void>;

  readonly #socketPath: string | undefined;
  readonly #greeting = Promise.withResolvers<MonitorHello>();
  readonly #exit = Promise.withResolvers<ExitRecord | undefined>();
  readonly #close = Promise.withResolvers<void>();
  readonly #replies: PromiseWithResolvers<Frame>[] = [];
  readonly #queue: OutputQueue;
  #channel: FrameChannel | undefined;
  #otherFrames: ((frame: Frame) => void) | undefined;
  #onClosed: ((error: Error | undefined) => void) | undefined;
  #gone = false;

  private constructor(socketPath: string | undefined) {
    this.#socketPath = socketPath;
    this.#queue = new OutputQueue({
      pause: () => this.#channel?.pause(),
      resume: () => this.#channel?.resume(),
    });
    this.output = this.#queue;
    this.exited = this.#exit.promise;
    this.closed = this.#close.promise;
    // Who does not ask for the greeting must not be killed by its failure.
    this.#greeting.promise.catch(() => undefined);
  }

  /**
   * Connects to a running container's monitor and hears its hello. Throws unavailable, or unsupported for another protocol. Its plan
   * version and op set do not matter any more: its own plan has run, and an exec brings the present helper.
   */
  static async connect(socketPath: string): Promise<MonitorConnection> {
    const connection = new MonitorConnection(socketPath);
    connection.#channel = await FrameChannel.connect(socketPath, connection.#handlers());
    const hello = await connection.hello();
    if (hello.protocol !== monitorProtocol) {
      connection.close();
      throw new EngineError(
        "unsupported",
        `The monitor of container ${hello.containerId} speaks protocol version ${hello.protocol}, and this engine version ${monitorProtocol}`,
      );
    }
    return connection;
  }

  /** The connection that a monitor was started with. `frames` takes what only a start knows: reports, ready, started, failed. */
  static async adopt(
    descriptor: number,
    options: {
      socketPath: string | undefined;
      frames: (frame: Frame) => void;
      closed: (error: Error | undefined) => void;
    },
  ): Promise<MonitorConnection> {
    const connection = new MonitorConnection(options.socketPath);
    connection.#otherFrames = options.frames;
    connection.#onClosed = options.closed;
    connection.#channel = await FrameChannel.adopt(descriptor, connection.#handlers());
    return connection;
  }

  hello(): Promise<MonitorHello> {
    return this.#greeting.promise;
  }

  /** This connection will be told the exit. A connection that started the monitor is subscribed already. */
  async subscribe(): Promise<void> {
    await this.#ask(frameType.subscribe, []);
  }

  /** Live output follows in `output` from the returned log position on (inode and offset 0 without a log). */
  async attach(streams: AttachStreams): Promise<LogPosition> {
    const names = (["stdin", "stdout", "stderr"] as const).filter((name) => streams[name]);
    if (names.length === 0) throw new EngineError("invalidArgument", "attach needs stdin, stdout or stderr");
    return decodePosition(await this.#ask(frameType.attach, names));
  }

  /** Bytes to the container's stdin; resolves when more may be written. */
  async write(data: Uint8Array): Promise<void> {
    for (let at = 0; at < data.length; at += stdinFrameBytes) {
      await this.#channel?.send(frameType.stdin, data.subarray(at, at + stdinFrameBytes));
    }
  }

  /** The container reads the end of its stdin. */
  closeInput(): void {
    void this.#channel?.send(frameType.stdin);
  }

  async resize(size: { rows: number; columns: number }): Promise<void> {
    await this.#ask(frameType.resize, [String(size.rows), String(size.columns)]);
  }

  /** Sends a signal to the container's init through its pidfd. Throws notFound when it is gone. */
  async signal(number: number): Promise<void> {
    await this.#ask(frameType.signal, [String(number)]);
  }

  /** Runs one more process in the container, over a connection of its own. Throws as `startExecSession`. */
  async exec(options: { helperPath: string; plan: Plan; settings: PlanSettings }): Promise<ExecSession> {
    if (!this.#socketPath) throw new EngineError("unavailable", "This monitor has no socket to connect to");
    return startExecSession({ ...options, socketPath: this.#socketPath });
  }

  /** Tells the monitor that no more comes from here: before `go` it aborts the start. */
  endOutput(): void {
    this.#channel?.endOutput();
  }

  /** Leave to start the container (frame `go`); no reply but `started` or `failed`. */
  async go(): Promise<void> {
    await this.#channel?.send(frameType.go);
  }

  close(): void {
    this.#channel?.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async #ask(type: number, fields: readonly string[]): Promise<Buffer> {
    if (this.#gone || !this.#channel) throw gone();
    // Replies come in the order of the requests.
    const reply = Promise.withResolvers<Frame>();
    this.#replies.push(reply);
    void this.#channel.send(type, encodeFields(fields));
    const frame = await reply.promise;
    if (frame.type !== frameType.done) return frame.payload;
    const errno = Number(decodeFields(frame.payload)[0]);
    if (errno === 0) return frame.payload;
    const code = errnoName(errno) === "ESRCH" ? "notFound" : "internal";
    throw new EngineError(code, `The monitor refused a request: ${errnoText(errno)}`, { data: { errno } });
  }

  #handlers(): { frame(frame: Frame): void; closed(error: Error | undefined): void } {
    return { frame: (frame) => this.#take(frame), closed: (error) => this.#finish(error) };
  }

  #take(frame: Frame): void {
    switch (frame.type) {
      case frameType.stdout:
        return this.#queue.push({ kind: "data", stream: "stdout", data: frame.payload });
      case frameType.stderr:
        return this.#queue.push({ kind: "data", stream: "stderr", data: frame.payload });
      case frameType.lagging:
        return this.#queue.push({ kind: "lagging", position: decodePosition(frame.payload) });
      case frameType.hello:
        return this.#greeting.resolve(decodeHello(frame.payload));
      case frameType.exited:
        return this.#exit.resolve(decodeExit(decodeFields(frame.payload)));
      case frameType.done:
      case frameType.attached:
        return this.#replies.shift()?.resolve(frame);
      default:
        return this.#otherFrames?.(frame);
    }
  }

  #finish(error: Error | undefined): void {
    this.#gone = true;
    this.#queue.end();
    this.#exit.resolve(undefined);
    this.#greeting.reject(gone(error));
    for (const reply of this.#replies.splice(0)) reply.reject(gone(error));
    this.#close.resolve();
    this.#onClosed?.(error);
  }
}

function gone(cause?: Error): EngineError {
  return new EngineError("unavailable", "The container's monitor has gone", cause === undefined ? {} : { cause });
}

function decodePosition(payload: Buffer): LogPosition {
  const [inode = "0", offset] = decodeFields(payload);
  return { inode: BigInt.asUintN(64, BigInt(inode)), offset: Number(offset) };
}

function decodeHello(payload: Buffer): MonitorHello {
  const [protocol, version, opSet, containerId = "", pid, logOffset] = decodeFields(payload);
  return {
    protocol: Number(protocol),
    planVersion: Number(version),
    opSet: Number(opSet),
    containerId,
    pid: Number(pid),
    logOffset: Number(logOffset),
  };
}
