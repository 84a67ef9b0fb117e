import { MonitorConnection, type LogPosition } from "../runtime/index.ts";
import type { OutputChunk, StdioSession } from "./contract.ts";
import type { LogTrail } from "./log-trail.ts";

export interface MonitorSessionOptions {
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly tty: boolean;
  /** What the log holds between two positions, for a client that fell behind. Without it, the container waits for its reader. */
  readonly log?: {
    readonly trail: LogTrail;
    readonly read: (from: LogPosition, to: LogPosition) => AsyncIterable<OutputChunk>;
  };
}

export interface MonitorSession extends StdioSession {
  /** Where in the log its output begins; undefined without output. */
  readonly position: LogPosition | undefined;
  /** Resolves when the output was read to its end, or the session disposed of. */
  readonly finished: Promise<void>;
}

/** Connects a client to a container's stdio. Everything printed after this resolves is in `output`; nothing of it is lost. */
export async function openMonitorSession(socketPath: string, options: MonitorSessionOptions): Promise<MonitorSession> {
  // Input has a connection of its own: it must survive the output's falling behind.
  const input = options.stdin ? await connectInput(socketPath) : undefined;
  const output = options.stdout || options.stderr ? new LiveOutput(socketPath, options) : undefined;
  const position = await output?.attach();
  return {
    position,
    finished: output?.finished ?? Promise.resolve(),
    tty: options.tty,
    output: output ?? untilClosed(input),
    write: async (data) => {
      await input?.write(data).catch(() => {});
    },
    closeInput: () => input?.closeInput(),
    [Symbol.dispose]() {
      input?.close();
      output?.close();
    },
  };
}

async function connectInput(socketPath: string): Promise<MonitorConnection> {
  const connection = await MonitorConnection.connect(socketPath);
  await connection.attach({ stdin: true });
  return connection;
}

/** A client that sends input alone stays until the container ends. */
async function* untilClosed(connection: MonitorConnection | undefined): AsyncGenerator<OutputChunk> {
  await connection?.closed;
  yield* [];
}

/** Bytes as they are printed; when the client is too slow for that, from the log until it has caught up. */
class LiveOutput implements AsyncIterable<OutputChunk> {
  readonly #finish = Promise.withResolvers<void>();
  readonly finished = this.#finish.promise;
  #connection: MonitorConnection | undefined;
  #closed = false;

  constructor(
    private readonly socketPath: string,
    private readonly options: MonitorSessionOptions,
  ) {}

  /** Undefined once the monitor is gone. */
  async attach(): Promise<LogPosition | undefined> {
    const connection = await MonitorConnection.connect(this.socketPath);
    await this.options.log?.trail.anchor(connection);
    const position = await connection.attach({ stdout: this.options.stdout, stderr: this.options.stderr });
    this.#connection = connection;
    if (this.#closed) connection.close();
    return position;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<OutputChunk> {
    try {
      yield* this.#read();
    } finally {
      this.#finish.resolve();
    }
  }

  async *#read(): AsyncGenerator<OutputChunk> {
    for (;;) {
      const lag = yield* this.#live();
      const { log } = this.options;
      if (!lag || !log || this.#closed) return;
      this.#connection?.close();
      const caughtUp = await this.attach().catch(() => undefined);
      const to = caughtUp ?? log.trail.end();
      if (to) yield* log.read(lag, to);
      if (!caughtUp) return;
    }
  }

  async *#live(): AsyncGenerator<OutputChunk, LogPosition | undefined> {
    if (!this.#connection) return undefined;
    for await (const event of this.#connection.output) {
      if (event.kind === "lagging") return event.position;
      yield { stream: event.stream, data: event.data };
    }
    return undefined;
  }

  close(): void {
    this.#closed = true;
    this.#connection?.close();
    this.#finish.resolve();
  }
}
