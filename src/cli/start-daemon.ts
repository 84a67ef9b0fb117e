import { closeSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { defaultRoot, defaultRunRoot, EngineError, Paths } from "../common/index.ts";
import { ApiClient } from "../api/client/index.ts";
import { printError } from "./output.ts";

const startLimitMs = 15_000;
const pollMs = 15;
const maxLogTailBytes = 2000;

/**
 * Starts `vitrine daemon` in a session of its own when nothing answers on the default socket, says so on stderr, and
 * returns once the socket answers. Its output goes to `<run>/daemon.log`. Throws unavailable, with the log's last lines,
 * when the daemon ends or does not answer in time. Two callers at once are no harm: the daemon that finds the socket
 * served ends, and its caller goes on with the other's.
 */
export async function startDaemonIfNeeded(
  paths: Paths = new Paths(),
  options: { readonly daemonArguments?: readonly string[] } = {},
): Promise<void> {
  if (await answers(paths.apiSocket)) return;
  printError(`vitrine: no engine answers at ${paths.apiSocket}; starting one (vitrine daemon)\n`);
  try {
    mkdirSync(paths.run, { recursive: true, mode: 0o711 });
  } catch (thrown) {
    throw new EngineError("permissionDenied", `Cannot start the engine: ${(thrown as Error).message}`, {
      cause: thrown,
    });
  }
  const logPath = join(paths.run, "daemon.log");
  const log = openSync(logPath, "a", 0o640);
  const daemon = Bun.spawn(daemonCommand(paths, options.daemonArguments ?? []), {
    stdin: "ignore",
    stdout: log,
    stderr: log,
    cwd: "/",
    detached: true,
  });
  closeSync(log);
  daemon.unref();
  const deadline = performance.now() + startLimitMs;
  let ended = false;
  void daemon.exited.then(() => (ended = true));
  while (performance.now() < deadline) {
    if (await answers(paths.apiSocket)) return;
    if (ended && !(await answers(paths.apiSocket))) break;
    await Bun.sleep(pollMs);
  }
  throw new EngineError(
    "unavailable",
    `The engine did not start${ended ? "" : ` within ${startLimitMs / 1000} s`}; ${logPath} ends with:\n${tail(logPath)}`,
  );
}

async function answers(socketPath: string): Promise<boolean> {
  using client = new ApiClient({ kind: "unix", path: socketPath });
  try {
    await client.ping();
    return true;
  } catch (thrown) {
    // Refused permission is an answer: another user's engine runs there, and starting a second one would not help.
    return thrown instanceof EngineError && thrown.code === "permissionDenied";
  }
}

/** The compiled executable calls itself; from source it is Bun with the main file. */
function daemonCommand(paths: Paths, more: readonly string[]): string[] {
  const compiled = import.meta.dir.startsWith("/$bunfs/");
  const program = compiled ? [process.execPath] : [process.execPath, join(import.meta.dir, "..", "main.ts")];
  const root = paths.root === defaultRoot ? [] : ["--root", paths.root];
  const run = paths.run === defaultRunRoot ? [] : ["--run", paths.run];
  return [...program, "daemon", ...root, ...run, ...more];
}

function tail(path: string): string {
  try {
    return readFileSync(path, "utf8").slice(-maxLogTailBytes).trim();
  } catch {
    return "(nothing)";
  }
}
