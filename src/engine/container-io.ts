import { EngineError } from "../common/index.ts";
import { LogNames, LogReader, readLog } from "../runtime/index.ts";
import { logPath } from "./container-spec.ts";
import type { AttachOptions, LogOptions, OutputChunk, StdioSession } from "./contract.ts";
import type { Core } from "./core.ts";
import { followLog } from "./follow-log.ts";
import type { LiveContainer } from "./live-container.ts";
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
  const path = logPath(core, record);
  const open = async (socketPath: string): Promise<MonitorSession> => {
    const session = await openMonitorSession(socketPath, {
      ...options,
      tty,
      openLog:
        path === undefined ? undefined : (from) => new LogReader(new LogNames(path), { ...streamsOf(options), from }),
    });
    container.addReader(session.finished);
    return session;
  };
  if (record.state.phase !== "running") return new PendingSession(container, { tty, open });
  const socketPath = core.paths.monitorSocket(record.id);
  if (!options.logs || path === undefined) return open(socketPath);
  // What was logged before and what comes now are one: the log, followed from its beginning.
  const input = await openMonitorSession(socketPath, { stdin: options.stdin, stdout: false, stderr: false, tty });
  return withFollowedLog(container, { input, path, socketPath, options });
}

function streamsOf({ stdout, stderr }: { stdout: boolean; stderr: boolean }): { stdout: boolean; stderr: boolean } {
  return { stdout, stderr };
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

function withFollowedLog(
  container: LiveContainer,
  session: { input: MonitorSession; path: string; socketPath: string; options: AttachOptions },
): StdioSession {
  const { input, path, socketPath, options } = session;
  const leave = new AbortController();
  const open = (): LogReader => new LogReader(new LogNames(path), streamsOf(options));
  return {
    tty: input.tty,
    output: followUntilRead(container, followLog(socketPath, { open, signal: leave.signal })),
    write: (data) => input.write(data),
    closeInput: () => input.closeInput(),
    [Symbol.dispose]() {
      leave.abort();
      input[Symbol.dispose]();
    },
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
      ? followUntilRead(
          container,
          followLog(core.paths.monitorSocket(record.id), {
            open: () => new LogReader(new LogNames(path), options),
            signal: options.signal,
          }),
        )
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
