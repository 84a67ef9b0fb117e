import { expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { sanitizedHelper } from "../support/helper-binary.ts";
import { newScratch } from "../support/scratch.ts";
import { waitFor } from "../support/test-engine.ts";

setDefaultTimeout(60_000);

/** `docker-init -- PROGRAM…` as PID 1 of a pid namespace of its own. */
async function asInit(words: readonly string[]): Promise<{ exitCode: number; stdout: string; stderr: string }> {
  const helper = await sanitizedHelper();
  const run = Bun.spawn(["unshare", "--pid", "--mount", "--fork", helper, "--", ...words], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [exitCode, stdout, stderr] = await Promise.all([
    run.exited,
    new Response(run.stdout).text(),
    new Response(run.stderr).text(),
  ]);
  return { exitCode, stdout, stderr };
}

test("init ends with its program's exit code, or 128 and the signal that ended it", async () => {
  expect((await asInit(["sh", "-c", "exit 7"])).exitCode).toBe(7);
  expect((await asInit(["true"])).exitCode).toBe(0);
  expect((await asInit(["sh", "-c", "kill -9 $$"])).exitCode).toBe(137);
});

test("init says which program it cannot execute, with the codes that shells use", async () => {
  const missing = await asInit(["no-such-program"]);
  expect(missing).toEqual({
    exitCode: 127,
    stdout: "",
    stderr: "docker-init: cannot execute no-such-program: No such file or directory\n",
  });
  expect(await asInit(["/etc/passwd"])).toMatchObject({ exitCode: 126 });
});

test("init without a program is a wrong use", async () => {
  const run = Bun.spawnSync([await sanitizedHelper(), "--"]);
  expect(run.exitCode).toBe(2);
  expect(run.stderr.toString()).toStartWith("usage:");
});

test("init reaps orphans, and not only its program", async () => {
  const orphan = `sh -c 'true & exec sh -c "exit 0"'`;
  // Each orphan's parent is gone before it: without a reaper the last line would find zombies.
  const waits = `mount -t proc proc /proc; for i in 1 2 3 4 5; do ${orphan}; done; for i in $(seq 200); do grep -l '^State:.Z' /proc/[0-9]*/status >/dev/null 2>&1 || exit 0; sleep 0.01; done; exit 9`;
  expect((await asInit(["sh", "-c", waits])).exitCode).toBe(0);
});

test("the program starts with no signal blocked", async () => {
  const { stdout } = await asInit(["grep", "SigBlk", "/proc/self/status"]);
  expect(stdout).toMatch(/^SigBlk:\s+0+\n$/);
});

test("init passes signals on, real-time ones too, and goes on itself", async () => {
  await using scratch = newScratch();
  const log = join(scratch.path, "log");
  const program = `trap 'echo usr1 >>${log}' USR1; trap 'echo hup >>${log}' HUP; trap 'echo rt >>${log}' 40; trap 'exit 5' TERM; echo ready >>${log}; while :; do sleep 0.01; done`;
  const words = [await sanitizedHelper(), "--", "bash", "-c", program];
  const run = Bun.spawn(words, { stdio: ["ignore", "ignore", "inherit"] });
  using _end = { [Symbol.dispose]: () => void (run.exitCode ?? run.kill("SIGTERM")) };
  const said = (word: string) => waitFor(word, () => existsSync(log) && readFileSync(log, "utf8").includes(word));
  await said("ready");
  run.kill("SIGUSR1");
  await said("usr1");
  run.kill("SIGHUP");
  await said("hup");
  process.kill(run.pid, 40);
  await said("rt");
  run.kill("SIGTERM");
  expect(await run.exited).toBe(5);
});
