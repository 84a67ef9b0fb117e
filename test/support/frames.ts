// The monitor's wire format, written anew for the tests: what the helper speaks is not read by the code under test.

/** Frame types of docs/flows/monitor-protocol.md. */
export const frame = {
  stdin: 0,
  stdout: 1,
  stderr: 2,
  hello: 16,
  report: 17,
  ready: 18,
  go: 19,
  started: 20,
  failed: 21,
  exited: 22,
  attach: 23,
  attached: 24,
  lagging: 25,
  resize: 26,
  signal: 27,
  done: 28,
  exec: 29,
  subscribe: 30,
} as const;

export interface Frame {
  readonly type: number;
  readonly payload: Buffer;
  /** The payload as NUL-ended fields. */
  readonly fields: string[];
}

export function encodeFrame(type: number, payload: Uint8Array | readonly string[] = []): Buffer {
  const body = payload instanceof Uint8Array ? payload : Buffer.from(payload.map((field) => `${field}\0`).join(""));
  const header = Buffer.alloc(8);
  header[0] = type;
  header.writeUInt32BE(body.length, 4);
  return Buffer.concat([header, body]);
}

/** A connection to a monitor that keeps every frame it gets. */
export class FrameConnection {
  readonly frames: Frame[] = [];
  closed = false;
  private rest: Buffer = Buffer.alloc(0);
  private wake: (() => void)[] = [];
  private socket: Bun.Socket | undefined;
  private waiting: Buffer = Buffer.alloc(0);

  static async connect(target: { unix: string } | { fd: number }): Promise<FrameConnection> {
    const connection = new FrameConnection();
    const handlers = {
      data: (_: unknown, bytes: Buffer) => connection.take(bytes),
      close: () => connection.end(),
      error: () => connection.end(),
      drain: () => connection.flush(),
    };
    connection.socket = await Bun.connect({ ...target, socket: handlers } as never);
    return connection;
  }

  send(type: number, payload: Uint8Array | readonly string[] = []): void {
    this.sendRaw(encodeFrame(type, payload));
  }

  sendRaw(bytes: Uint8Array): void {
    this.waiting = Buffer.concat([this.waiting, bytes]);
    this.flush();
  }

  /** The first frame of that type from `from` on. Fails after `timeoutMs`, telling what did come. */
  async next(type: number, options: { from?: number; timeoutMs?: number } = {}): Promise<Frame> {
    const find = () => this.frames.slice(options.from ?? 0).find((candidate) => candidate.type === type);
    await this.until(() => find() !== undefined, options.timeoutMs);
    return find() as Frame;
  }

  /** Waits until `condition` holds, looking after each piece that arrives. */
  async until(condition: () => boolean, timeoutMs = 5000): Promise<void> {
    const deadline = Date.now() + timeoutMs;
    while (!condition()) {
      if (this.closed || Date.now() > deadline) {
        const seen = this.frames.map(({ type, fields }) => `${type}(${fields.join(",").slice(0, 200)})`).join(" ");
        throw new Error(`${this.closed ? "The connection closed" : "Nothing came in time"}; frames: ${seen}`);
      }
      await new Promise<void>((resolve) => {
        this.wake.push(resolve);
        setTimeout(resolve, 50);
      });
    }
  }

  async untilClosed(timeoutMs = 5000): Promise<void> {
    const deadline = Date.now() + timeoutMs;
    while (!this.closed && Date.now() < deadline) {
      await new Promise<void>((resolve) => {
        this.wake.push(resolve);
        setTimeout(resolve, 50);
      });
    }
    if (!this.closed) throw new Error("The connection stayed open");
  }

  /** All bytes of a stream so far. */
  bytes(type: number): Buffer {
    return Buffer.concat(this.frames.filter((one) => one.type === type).map(({ payload }) => payload));
  }

  text(type: number): string {
    return this.bytes(type).toString("utf8");
  }

  pause(): void {
    this.socket?.pause();
  }

  resume(): void {
    this.socket?.resume();
  }

  close(): void {
    this.socket?.end();
    this.end();
  }

  private take(bytes: Buffer): void {
    this.rest = Buffer.concat([this.rest, bytes]);
    while (this.rest.length >= 8 && this.rest.length >= 8 + this.rest.readUInt32BE(4)) {
      const end = 8 + this.rest.readUInt32BE(4);
      const payload = Buffer.from(this.rest.subarray(8, end));
      this.frames.push({
        type: this.rest[0] ?? 255,
        payload,
        fields: payload.toString("utf8").split("\0").slice(0, -1),
      });
      this.rest = this.rest.subarray(end);
    }
    this.notify();
  }

  private flush(): void {
    if (this.waiting.length === 0 || !this.socket) return;
    const sent = this.socket.write(this.waiting);
    if (sent > 0) this.waiting = this.waiting.subarray(sent);
  }

  private end(): void {
    this.closed = true;
    this.notify();
  }

  private notify(): void {
    for (const resolve of this.wake.splice(0)) resolve();
  }
}
