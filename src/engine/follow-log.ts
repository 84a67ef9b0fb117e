import { EngineError } from "../common/index.ts";
import { type LogReader, type LogRecord, MonitorConnection } from "../runtime/index.ts";

export interface FollowOptions {
  /** Where to begin; called once there is somebody who reads. */
  readonly open: () => LogReader;
  /** Ends it at the next record. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * A log's records as they are written, until its container has ended, or `until` has come. The files are the only source; live output
 * merely tells when there is more to read. Without a monitor at the socket: what there is.
 */
export async function* followLog(socketPath: string, options: FollowOptions): AsyncGenerator<LogRecord> {
  const { signal } = options;
  if (signal?.aborted) return;
  using reader = options.open();
  using live = new LiveSignal(socketPath);
  const stop = (): void => live.close();
  signal?.addEventListener("abort", stop);
  try {
    await live.open();
    // What is written from here on is told of.
    yield* reader.rest();
    for await (const _more of live) {
      if (signal?.aborted || reader.isOver) return;
      yield* reader.rest();
    }
    if (!signal?.aborted) yield* reader.rest();
  } finally {
    signal?.removeEventListener("abort", stop);
  }
}

/** Yields whenever a container may have printed more, until it has ended. */
class LiveSignal implements AsyncIterable<void>, Disposable {
  #connection: MonitorConnection | undefined;
  #closed = false;

  constructor(private readonly socketPath: string) {}

  /** Without a monitor there is no more to come, and nothing is told. */
  async open(): Promise<void> {
    this.#connection = undefined;
    try {
      const connection = await MonitorConnection.connect(this.socketPath);
      this.#connection = connection;
      if (this.#closed) connection.close();
      await connection.attach({ stdout: true, stderr: true });
    } catch (error) {
      if (!(error instanceof EngineError && error.code === "unavailable")) throw error;
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<void> {
    while (this.#connection && !this.#closed) {
      let lagging = false;
      for await (const event of this.#connection.output) {
        lagging = event.kind === "lagging";
        // A monitor that finds its client too slow sends it nothing more: come anew before looking.
        if (lagging) break;
        yield;
      }
      if (!lagging) return;
      this.#connection.close();
      await this.open();
      yield;
    }
  }

  close(): void {
    this.#closed = true;
    this.#connection?.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
