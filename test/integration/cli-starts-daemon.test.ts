import { expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ApiClient } from "../../src/api/client/index.ts";
import { startDaemonIfNeeded } from "../../src/cli/index.ts";
import { Paths } from "../../src/common/index.ts";
import { newScratch } from "../support/scratch.ts";

/** The daemon that serves these paths, by its command line in /proc. */
function daemonPid(run: string): number | undefined {
  const { stdout } = Bun.spawnSync(["pgrep", "-f", "--", `daemon .*--run ${run}`]);
  const [pid] = stdout.toString().trim().split("\n");
  return pid ? Number(pid) : undefined;
}

async function ended(pid: number): Promise<void> {
  process.kill(pid, "SIGTERM");
  while (existsSync(`/proc/${pid}`) && !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"))) {
    await Bun.sleep(20);
  }
}

test("a daemon is started where none answers, in a session of its own, and once only", async () => {
  await using scratch = newScratch();
  const paths = new Paths(join(scratch.path, "root"), join(scratch.path, "run"));
  const daemonArguments = ["--instance", `vc${process.pid}`, "--bridge", `vc${process.pid}`];
  await startDaemonIfNeeded(paths, { daemonArguments });
  const pid = daemonPid(paths.run) ?? 0;
  try {
    expect(pid).toBeGreaterThan(0);
    using client = new ApiClient({ kind: "unix", path: paths.apiSocket });
    expect((await client.ping()).osType).toBe("linux");
    const [, , , , , session] = readFileSync(`/proc/${pid}/stat`, "utf8").split(" ");
    expect(Number(session)).toBe(pid);
    expect(existsSync(join(paths.run, "daemon.log"))).toBe(true);
    await startDaemonIfNeeded(paths, { daemonArguments });
    expect(daemonPid(paths.run)).toBe(pid);
  } finally {
    if (pid > 0) await ended(pid);
  }
});

test("a daemon that cannot start is told with the end of its log", async () => {
  await using scratch = newScratch();
  const paths = new Paths(join(scratch.path, "root"), join(scratch.path, "run"));
  const start = startDaemonIfNeeded(paths, { daemonArguments: ["--nosuch"] });
  await expect(start).rejects.toThrow(/The engine did not start; .*daemon\.log ends with:\n.*nosuch/s);
});
