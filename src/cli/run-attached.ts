import { type ApiClient, pathPart } from "../api/client/index.ts";
import { beginWait } from "./container-exit.ts";
import { proxySignals } from "./signal-proxy.ts";
import { type StdioOptions, streamStdio } from "./stdio-stream.ts";
import { followWindowSize, windowSize } from "./terminal.ts";

export interface AttachedRun extends StdioOptions {
  readonly id: string;
  /** The engine removes it at its end: then its removal is waited for. */
  readonly autoRemove: boolean;
  readonly signalProxy: boolean;
  /** Called once it has started. */
  readonly started?: (() => Promise<void>) | undefined;
}

/** Attaches, begins to wait, and only then starts the container. Gives its exit code; 0 when the detach keys were typed. */
export async function runAttached(engine: ApiClient, run: AttachedRun): Promise<number> {
  const path = `/containers/${pathPart(run.id)}`;
  using _signals = run.signalProxy ? proxySignals(engine, run.id) : undefined;
  const query = {
    stream: true,
    stdin: run.stdin || undefined,
    stdout: run.stdout || undefined,
    stderr: run.stderr || undefined,
    detachKeys: run.detachKeys || undefined,
  };
  const [connection, waiting] = await Promise.all([
    engine.hijack(`${path}/attach`, { query, tty: run.tty }),
    beginWait(engine, run.id, run.autoRemove ? "removed" : "next-exit"),
  ]);
  using attached = connection;
  using wait = waiting;
  const streamed = streamStdio(attached, run);
  streamed.catch(() => {});
  try {
    await engine.post(`${path}/start`);
  } catch (thrown) {
    attached.close();
    await streamed.catch(() => {});
    if (run.autoRemove) await wait.exitCode;
    throw thrown;
  }
  using _resize = run.tty && windowSize() ? followWindow(engine, path) : undefined;
  await run.started?.();
  if ((await streamed) === "detached") return 0;
  return await wait.exitCode;
}

function followWindow(engine: ApiClient, path: string): Disposable {
  return followWindowSize(({ rows, columns }) => engine.post(`${path}/resize`, { query: { h: rows, w: columns } }));
}
