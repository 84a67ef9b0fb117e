import { EngineError } from "../common/index.ts";
import { MonitorConnection, readLog } from "../runtime/index.ts";
import { logPath } from "./container-spec.ts";
import type { AttachOptions, LogOptions, OutputChunk, StdioSession } from "./contract.ts";
import type { Core } from "./core.ts";
import type { LiveContainer } from "./live-container.ts";
import { LogTrail } from "./log-trail.ts";
import { openMonitorSession, type MonitorSession } from "./monitor-session.ts";

/** Connects a client to a container's stdio; to one that does not run, at its next start, before it prints anything. */
export async function attachContainer(
  core: Core,
  container: LiveContainer,
  options: AttachOptions,
): Promise<StdioSession> {
  const { record } = container;
  const tty = record.config.Tty ?? false;
  const { paused, restarting } = record.state;
  if (options.stream && paused)
    throw new EngineError("conflict", `Container ${record.id} is paused, unpause the container before attach.`);
  if (options.stream && restarting)
    throw new EngineError("conflict", `Container ${record.id} is restarting, wait until the container is running`);
  if (!options.stream) return replayOnly(core, container, options);
  const open = async (socketPath: string): Promise<MonitorSession> => {
    const session = await openMonitorSession(socketPath, { ...options, tty, ...logReader(core, container, options) });
    container.addReader(session.finished);
    return session;
  };
  if (record.state.phase !== "running") return new PendingSession(container, { tty, open });
  const session = await open(core.paths.monitorSocket(record.id));
  return options.logs ? withReplay(core, container, { options, session }) : session;
}

/** The log between two positions, for clients that fall behind; nothing for a container without a log. */
function logReader(
  core: Core,
  container: LiveContainer,
  streams: { stdout: boolean; stderr: boolean },
): Pick<Parameters<typeof openMonitorSession>[1], "log"> {
  const path = logPath(core, container.record);
  if (path === undefined) return {};
  const { stdout, stderr } = streams;
  return { log: { trail: new LogTrail(path), read: (from, to) => readLog(path, { from, to, stdout, stderr }) } };
}

function replayOnly(core: Core, container: LiveContainer, options: AttachOptions): StdioSession {
  const path = logPath(core, container.record);
  const output =
    options.logs && path !== undefined
      ? readLog(path, options)
      : (async function* (): AsyncGenerator<OutputChunk> {})();
  return {
    tty: container.record.config.Tty ?? false,
    output,
    write: async () => {},
    closeInput() {},
    [Symbol.dispose]() {},
  };
}

function withReplay(
  core: Core,
  container: LiveContainer,
  { options, session }: { options: AttachOptions; session: MonitorSession },
): StdioSession {
  const path = logPath(core, container.record);
  if (path === undefined) return session;
  const { position, tty } = session;
  async function* output(): AsyncGenerator<OutputChunk> {
    if (path !== undefined)
      yield* readLog(path, { stdout: options.stdout, stderr: options.stderr, ...(position ? { to: position } : {}) });
    yield* session.output;
  }
  return {
    tty,
    output: output(),
    write: (data) => session.write(data),
    closeInput: () => session.closeInput(),
    [Symbol.dispose]: () => session[Symbol.dispose](),
  };
}

/** A client that came before the process: connected once the monitor is there, and told of the end when the start fails. */
class PendingSession implements StdioSession {
  readonly tty: boolean;
  readonly output: AsyncIterable<OutputChunk>;
  readonly #session = Promise.withResolvers<StdioSession | undefined>();
  readonly #forget: () => void;
  #closed = false;

  constructor(
    container: LiveContainer,
    options: { tty: boolean; open: (socketPath: string) => Promise<StdioSession> },
  ) {
    this.tty = options.tty;
    const attach = async (socketPath: string): Promise<void> => {
      const session = await options.open(socketPath);
      if (this.#closed) session[Symbol.dispose]();
      this.#session.resolve(session);
    };
    container.pendingAttachments.add(attach);
    this.#forget = () => container.pendingAttachments.delete(attach);
    // A start that fails, or a removal, ends the wait.
    void Promise.race([container.startFailed(), container.removal()]).then(() => this.#session.resolve(undefined));
    this.output = this.#read();
  }

  async *#read(): AsyncGenerator<OutputChunk> {
    const session = await this.#session.promise;
    if (session) yield* session.output;
  }

  async write(data: Uint8Array): Promise<void> {
    await (await this.#session.promise)?.write(data);
  }

  closeInput(): void {
    void this.#session.promise.then((session) => session?.closeInput());
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    this.#forget();
    void this.#session.promise.then((session) => session?.[Symbol.dispose]());
    this.#session.resolve(undefined);
  }
}

/** Log records as they were written, and with `follow` as they are written until the container ends or the client is gone. */
export function containerLogs(
  core: Core,
  container: LiveContainer,
  options: LogOptions & { signal?: AbortSignal },
): { tty: boolean; records: AsyncIterable<OutputChunk> } {
  const { record } = container;
  const path = logPath(core, record);
  if (path === undefined)
    throw new EngineError("unsupported", 'configured logging driver does not support reading: it is "none"', {
      data: { httpStatus: 500 },
    });
  const tty = record.config.Tty ?? false;
  const follows = options.follow && record.state.phase === "running";
  return {
    tty,
    records: follows
      ? followUntilRead(container, followLog(core.paths.monitorSocket(record.id), { ...options, path }))
      : readLog(path, options),
  };
}

/** `--rm` waits for whoever has begun to follow. */
async function* followUntilRead(
  container: LiveContainer,
  records: AsyncIterable<OutputChunk>,
): AsyncGenerator<OutputChunk> {
  const { promise, resolve } = Promise.withResolvers<void>();
  container.addReader(promise);
  try {
    yield* records;
  } finally {
    resolve();
  }
}

/** The file is the only source; live output merely tells when there is more to read. */
async function* followLog(
  socketPath: string,
  options: LogOptions & { path: string; signal?: AbortSignal },
): AsyncGenerator<OutputChunk> {
  const { path, stdout, stderr, until } = options;
  const range = { stdout, stderr, ...(until === undefined ? {} : { until }) };
  // Questions have a connection of their own: on the live one, answers would wait behind output that nobody has taken yet.
  const control = await MonitorConnection.connect(socketPath).catch(() => undefined);
  if (!control) return yield* readLog(path, options);
  const trail = new LogTrail(path);
  const live = new LiveSignal(socketPath);
  const stop = (): void => live.close();
  options.signal?.addEventListener("abort", stop);
  try {
    await trail.anchor(control);
    await live.open();
    let position = await control.logSync();
    yield* readLog(path, { ...options, to: position });
    for await (const _more of live) {
      const now = await control.logSync().catch(() => undefined);
      if (!now) break;
      yield* readLog(path, { ...range, from: position, to: now });
      position = now;
    }
    if (options.signal?.aborted) return;
    const end = trail.end();
    if (end) yield* readLog(path, { ...range, from: position, to: end });
  } catch (error) {
    // The monitor went between two questions: nothing was read yet.
    if (error instanceof EngineError && error.code === "unavailable") return yield* readLog(path, options);
    throw error;
  } finally {
    options.signal?.removeEventListener("abort", stop);
    live.close();
    control.close();
  }
}

/** Yields whenever a container may have printed more, until it has ended. */
class LiveSignal implements AsyncIterable<void> {
  #connection: MonitorConnection | undefined;
  #closed = false;

  constructor(private readonly socketPath: string) {}

  async open(): Promise<void> {
    const connection = await MonitorConnection.connect(this.socketPath);
    this.#connection = connection;
    if (this.#closed) connection.close();
    await connection.attach({ stdout: true, stderr: true });
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
      this.#connection = undefined;
      await this.open().catch(() => undefined);
      yield;
    }
  }

  close(): void {
    this.#closed = true;
    this.#connection?.close();
  }
}
