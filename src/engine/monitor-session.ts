import { type LogPosition, type LogReader, MonitorConnection } from "../runtime/index.ts";
import type { OutputChunk, StdioSession } from "./contract.ts";
import { followLog } from "./follow-log.ts";

export interface MonitorSessionOptions {
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly tty: boolean;
  /** The log from a position on, for a client that fell behind. Without it, the container waits for its reader. */
  readonly openLog?: ((from: LogPosition) => LogReader) | undefined;
}

export interface MonitorSession extends StdioSession {
  /** Resolves when the output was read to its end, or the session disposed of. */
  readonly finished: Promise<void>;
}

/** Connects a client to a container's stdio. Everything printed after this resolves is in `output`; nothing of it is lost. */
export async function openMonitorSession(socketPath: string, options: MonitorSessionOptions): Promise<MonitorSession> {
  // Input has a connection of its own: it must survive the output's falling behind.
  const input = options.stdin ? await connectInput(socketPath) : undefined;
  const output = options.stdout || options.stderr ? new LiveOutput(socketPath, options) : undefined;
  await output?.attach();
  return {
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

/** Bytes as they are printed; when the client is too slow for that, from the log, at its own pace. */
class LiveOutput implements AsyncIterable<OutputChunk> {
  readonly #finish = Promise.withResolvers<void>();
  readonly finished = this.#finish.promise;
  readonly #leave = new AbortController();
  #connection: MonitorConnection | undefined;

  constructor(
    private readonly socketPath: string,
    private readonly options: MonitorSessionOptions,
  ) {}

  async attach(): Promise<void> {
    const { stdout, stderr } = this.options;
    this.#connection = await MonitorConnection.connect(this.socketPath);
    await this.#connection.attach({ stdout, stderr });
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<OutputChunk> {
    try {
      yield* this.#read();
    } finally {
      this.#finish.resolve();
    }
  }

  async *#read(): AsyncGenerator<OutputChunk> {
    const lag = yield* this.#live();
    const { openLog } = this.options;
    const { signal } = this.#leave;
    if (!lag || !openLog || signal.aborted) return;
    const open = (): LogReader => {
      const reader = openLog(lag);
      // The monitor held the file for this connection; now the reader does.
      this.#connection?.close();
      return reader;
    };
    yield* followLog(this.socketPath, { open, signal });
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
    this.#leave.abort();
    this.#connection?.close();
    this.#finish.resolve();
  }
}
