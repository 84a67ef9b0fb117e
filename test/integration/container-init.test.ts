// `docker run --init`: a small PID 1 between the engine and the program.
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { importBusybox } from "../support/busybox-image.ts";
import { runProgram, TestEngine, waitFor } from "../support/test-engine.ts";

setDefaultTimeout(60_000);

const engine = new TestEngine();

beforeAll(async () => {
  await engine.start();
  await importBusybox(engine);
});
afterAll(() => engine[Symbol.asyncDispose]());

test("the container's PID 1 is the init, its child the program, and the init's file cannot be written", async () => {
  const look = "tr '\\0' ' ' </proc/1/cmdline; echo; echo $PPID; grep ' /sbin/docker-init ' /proc/self/mountinfo";
  const { stdout, exitCode } = await engine.docker(
    "run",
    "--rm",
    "--init",
    "busybox",
    "busybox",
    "sh",
    "-c",
    look.replace("tr", "busybox tr"),
  );
  expect(exitCode).toBe(0);
  const [commandLine, parent, mount] = stdout.split("\n");
  expect(commandLine).toStartWith("/sbin/docker-init -- busybox sh -c ");
  expect(parent).toBe("1");
  expect(mount?.split(" ")[5]).toMatch(/^ro,/);
});

test("a program that would ignore SIGTERM as PID 1 stops at once", async () => {
  await engine.docker("run", "-d", "--name", "stopped", "--init", "busybox", "sleep", "1000");
  const { Pid: pid } = (await engine.inspect("stopped")).State;
  // Before that, the init may not be listening yet.
  await waitFor("the program", () => readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8") !== "");
  const begin = performance.now();
  expect((await engine.docker("stop", "-t", "30", "stopped")).exitCode).toBe(0);
  expect(performance.now() - begin).toBeLessThan(10_000);
  expect((await engine.inspect("stopped")).State).toMatchObject({ ExitCode: 143, Status: "exited" });
});

test("no zombie stays, and exit codes are the program's", async () => {
  await engine.docker("run", "-d", "--name", "reaping", "--init", "busybox", "sleep", "1000");
  // The shell leaves its background job to PID 1.
  const orphans = "for i in 1 2 3 4 5; do sh -c 'true & exec true'; done";
  expect((await engine.docker("exec", "reaping", "sh", "-c", orphans)).exitCode).toBe(0);
  await waitFor("the orphans to be reaped", async () => {
    const { stdout } = await engine.docker("exec", "reaping", "ps", "-o", "stat,args");
    return !/^Z/m.test(stdout);
  });
  expect((await engine.docker("run", "--rm", "--init", "busybox", "sh", "-c", "exit 7")).exitCode).toBe(7);
  const missing = await engine.docker("run", "--rm", "--init", "busybox", "nope");
  expect(missing).toMatchObject({
    exitCode: 127,
    stderr: "docker-init: cannot execute nope: No such file or directory\n",
  });
});

test("on a terminal the program is in front, so that Ctrl-C reaches it and not the init", async () => {
  // script(1) gives docker's command line a terminal.
  const program = "trap 'echo interrupted; exit 9' INT; echo ready; while :; do sleep 0.05; done";
  const line = `docker -H unix://${engine.socket} run --rm -it --init busybox sh -c "${program}"`;
  const typed = `{ sleep 0.1; until grep -q ready "$0"; do sleep 0.05; done; printf '\\003'; sleep 1; } | script -qfec '${line.replaceAll("'", `'\\''`)}' "$0"`;
  const outcome = await runProgram(["timeout", "30", "bash", "-c", typed, `${engine.scratch.path}/typescript`]);
  expect(outcome.stdout).toContain("interrupted");
});
