import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { openCgroups } from "../../src/kernel/index.ts";
import { compileExecPlan, type ExecSession, type MonitorStart } from "../../src/runtime/index.ts";
import type { OciSpec, ProcessSpec } from "../../src/spec/index.ts";
import { busyboxPlan, helperPath, makeBusyboxRoot, processSpec, startPlan } from "../support/busybox-container.ts";
import { mountsBelow, newScratch, type Scratch } from "../support/scratch.ts";

const cgroups = openCgroups();
const cgroupPath = `/vitrine-test-exec-${process.pid}`;
let scratch: Scratch;
let start: MonitorStart;
let spec: OciSpec;
let cgroupDirectories: readonly string[];

beforeAll(async () => {
  scratch = newScratch();
  const root = makeBusyboxRoot(join(scratch.path, "box"));
  cgroupDirectories = cgroups.create(cgroupPath, { pids: 50 });
  const made = busyboxPlan(root, {
    process: { args: ["sleep", "1000"] },
    input: { cgroupPath, cgroupVersion: cgroups.support.version },
    cgroupDirectories,
  });
  spec = made.spec;
  start = await startPlan(root, made.plan);
  await start.go();
});

afterAll(async () => {
  await start.connection.signal(9);
  await start.connection.exited;
  start.connection.close();
  while (mountsBelow(scratch.path).length > 0) await Bun.sleep(2);
  await cgroups.remove(cgroupPath);
  await scratch[Symbol.asyncDispose]();
});

function exec(process: Partial<ProcessSpec>, settings: Record<string, string> = {}): Promise<ExecSession> {
  const plan = compileExecPlan(spec, processSpec(process), {
    settings: { id: "exec", ...settings },
    cgroupDirectories,
  });
  return start.connection.exec({ helperPath, plan, settings });
}

async function output(session: ExecSession, stream?: "stdout" | "stderr"): Promise<string> {
  let text = "";
  for await (const event of session.output) {
    if (event.kind === "data" && (stream ?? event.stream) === event.stream) text += Buffer.from(event.data).toString();
  }
  return text;
}

const status = async (process: Partial<ProcessSpec>) =>
  output(await exec({ args: ["cat", "/proc/self/status"], ...process }));

describe("one more process in a running container", () => {
  test("sees what the first one sees, is in the same groups, and its exit code is its own", async () => {
    const session = await exec({
      args: [
        "sh",
        "-c",
        "hostname; cat /proc/1/cmdline | head -c 5; echo; grep Cap /proc/self/status; sleep 0.3; exit 5",
      ],
    });
    const { pid } = await session.started;
    for (const name of ["mnt", "pid", "uts", "ipc", "net"]) {
      expect(readlinkSync(`/proc/${pid}/ns/${name}`)).toBe(readlinkSync(`/proc/${start.ready.pid}/ns/${name}`));
    }
    expect(readFileSync(`/proc/${pid}/cgroup`, "utf8")).toContain(cgroupPath);
    expect(await output(session)).toContain("box\nsleep\n");
    expect(await session.exited).toMatchObject({ exitCode: 5, signal: 0 });
    expect(session.reports().filter(({ errno }) => errno !== 0)).toEqual([]);
  });
  test("has the container's capabilities and filter; privileged ones have all capabilities; a user has none", async () => {
    expect(await status({})).toMatch(/CapEff:\t00000000a80425fb\n[^]*Seccomp:\t2/);
    const bounding = /CapBnd:\t(\w+)/.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
    expect(await status({ privileged: true })).toContain(`CapEff:\t${bounding}`);
    const user = { uid: 1000, gid: 1000, groups: [1000], home: "/" };
    expect(await status({ user })).toContain("CapEff:\t0000000000000000");
  });
  test("reads stdin to its end, and keeps stdout and stderr apart", async () => {
    const session = await exec({ args: ["sh", "-c", "cat; echo problem >&2"] }, { "open-stdin": "1" });
    await session.started;
    const big = Buffer.alloc(1_000_000, "x");
    const [text] = await Promise.all([output(session, "stdout"), session.write(big).then(() => session.closeInput())]);
    expect(text.length).toBe(big.length);
    expect(await session.exited).toMatchObject({ exitCode: 0 });
  });
  test("writes a lot to a reader that is slow, and not a byte is lost", async () => {
    const session = await exec({ args: ["sh", "-c", "yes 0123456789 | head -c 4000000"] });
    let length = 0;
    let chunks = 0;
    for await (const event of session.output) {
      if (event.kind === "data") length += event.data.length;
      if (chunks++ % 50 === 0) await Bun.sleep(3);
    }
    expect(length).toBe(4_000_000);
  });
  test("has a terminal of the container's own", async () => {
    const session = await exec(
      { args: ["sh", "-c", "read x; tty; stty size"], terminal: true },
      { tty: "1", "open-stdin": "1" },
    );
    await session.started;
    await session.resize({ rows: 12, columns: 34 });
    await session.write(Buffer.from("\n"));
    expect(await output(session)).toMatch(/\/dev\/pts\/\d+\r\n12 34\r\n/);
  });
  test("a signal ends it with 128 and its number", async () => {
    const session = await exec({ args: ["sh", "-c", "kill -9 $$"] });
    expect(await session.exited).toMatchObject({ exitCode: 137, signal: 9 });
  });
});

describe("an exec that fails", () => {
  test("says why in Docker's words, and the container lives on", async () => {
    const session = await exec({ args: ["nope"] });
    const error = await session.started.catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({
      message: expect.stringContaining('exec: "nope": executable file not found in $PATH'),
      data: { exitCode: 127 },
    });
    const inside = await (await exec({ args: ["true"], cwd: "/nowhere" })).started.catch((thrown: unknown) => thrown);
    expect(inside).toMatchObject({
      message: expect.stringContaining('chdir to cwd ("/nowhere") failed: no such file or directory'),
    });
    expect(existsSync(`/proc/${start.ready.pid}`)).toBe(true);
  });
});
