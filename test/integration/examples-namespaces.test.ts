// The examples are compiled and run as the documents tell people to. What would reach the host is made in an outer mount namespace of the test's own,
// which stands for the host: its mounts are shared among themselves, and private to it.
import { beforeAll, afterAll, describe, expect, test } from "bun:test";
import { mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { namespaceInodes } from "../../src/kernel/index.ts";
import { mountsBelow, newScratch, type Scratch } from "../support/scratch.ts";

const examples = resolve(import.meta.dir, "../../examples");
let scratch: Scratch;

beforeAll(() => {
  scratch = newScratch();
  for (const name of ["ns", "set_ns"]) {
    const source = join(examples, `${name}.c`);
    const compiled = run(["cc", "-Wall", "-Wextra", "-Werror", "-o", join(scratch.path, name), source]);
    expect(compiled).toEqual({ exitCode: 0, stdout: "", stderr: "" });
  }
});

afterAll(() => scratch[Symbol.asyncDispose]());

function run(command: string[]): { exitCode: number; stdout: string; stderr: string } {
  const { exitCode, stdout, stderr } = Bun.spawnSync(command);
  return { exitCode, stdout: stdout.toString().trim(), stderr: stderr.toString().trim() };
}

/** Runs `ns CASE` in the outer namespace on a directory of a submount. Tells what is mounted there inside, then outside. */
function see(name: string): { inside: string; outside: string } {
  const submount = join(scratch.path, "submount");
  const target = join(submount, "target");
  mkdirSync(submount, { recursive: true });
  const look = `findmnt -n -o FSTYPE --mountpoint ${target} || echo nothing`;
  const script = [
    "mount --make-rshared /",
    `mount -t tmpfs submount ${submount}`,
    `mkdir ${target}`,
    `${scratch.path}/ns ${name} ${target} sh -c '${look}'`,
    look,
  ];
  const { stdout, stderr } = run(["unshare", "--mount", "--propagation", "private", "sh", "-ec", script.join("\n")]);
  expect(stderr).toBe("");
  const [inside = "", outside = ""] = stdout.split("\n");
  return { inside, outside };
}

describe("ns.c", () => {
  test("without a mount a new namespace shows the host's", () => {
    expect(see("none")).toEqual({ inside: "nothing", outside: "nothing" });
  });

  test("a mount reaches the host while its parent is shared", () => {
    expect(see("shared")).toEqual({ inside: "tmpfs", outside: "tmpfs" });
  });

  test("a mount below a submount still reaches the host when only / was made private", () => {
    expect(see("private")).toEqual({ inside: "tmpfs", outside: "tmpfs" });
  });

  test("nothing reaches the host when every mount was made private", () => {
    expect(see("rprivate")).toEqual({ inside: "tmpfs", outside: "nothing" });
  });

  test("the machine's own mounts stay as they were", () => {
    see("shared");
    expect(mountsBelow(scratch.path)).toEqual([]);
  });

  test("it answers with the program's exit status, and tells how it is used", () => {
    expect(run([`${scratch.path}/ns`, "none", "/", "sh", "-c", "exit 7"]).exitCode).toBe(7);
    expect(run([`${scratch.path}/ns`, "public", "/", "true"])).toMatchObject({
      exitCode: 2,
      stderr: "usage: ns none|shared|private|rprivate TARGET PROGRAM [ARGUMENT...]",
    });
    expect(run([`${scratch.path}/ns`, "none", "/", "/no/such"]).stderr).toBe("ns: /no/such: No such file or directory");
  });
});

describe("set_ns.c", () => {
  test("the program is in the network namespace of that process and sees its interfaces", async () => {
    const script = "ip link add vt-seen type bridge && echo ready && exec sleep 60";
    const other = Bun.spawn(["unshare", "--net", "sh", "-c", script], { stdout: "pipe" });
    try {
      await other.stdout.getReader().read();
      const file = `/proc/${other.pid}/ns/net`;
      const inside = run([`${scratch.path}/set_ns`, file, "ip", "-j", "link"]);
      const names = (JSON.parse(inside.stdout) as { ifname: string }[]).map(({ ifname }) => ifname);
      expect(names).toContain("vt-seen");
      expect(run(["ip", "-j", "link"]).stdout).not.toContain("vt-seen");
      const link = run([`${scratch.path}/set_ns`, file, "readlink", "/proc/self/ns/net"]);
      expect(link.stdout).toBe(`net:[${namespaceInodes(other.pid).net}]`);
      expect(run(["nsenter", `--net=${file}`, "ip", "-j", "link"]).stdout).toBe(inside.stdout);
    } finally {
      other.kill("SIGKILL");
      await other.exited;
    }
  });

  test("what is no namespace, or not there, is told with the kernel's words", () => {
    const program = `${scratch.path}/set_ns`;
    expect(run([program, "/proc/self/status", "true"])).toMatchObject({
      exitCode: 1,
      stderr: "set_ns: setns: Invalid argument",
    });
    expect(run([program, "/proc/0/ns/net", "true"]).stderr).toBe("set_ns: /proc/0/ns/net: No such file or directory");
  });
});

describe("cpu-limit.sh", () => {
  test("a group starts without a quota, and holds a busy loop to a fifth of a CPU once it has one", () => {
    const groups = (): string =>
      run(["sh", "-c", "ls -d /sys/fs/cgroup/cpu-limit-by-hand-* /sys/fs/cgroup/*/cpu-limit-by-hand-*"]).stdout;
    const before = groups();
    const { exitCode, stdout } = run(["sh", join(examples, "cpu-limit.sh")]);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/cpu\.cfs_quota_us: -1\ncpu\.cfs_period_us: 100000\n|cpu\.max: max 100000\n/);
    expect(stdout).toMatch(/cpu\.cfs_quota_us: 20000\n|cpu\.max: 20000 100000\n/);
    expect(Number(/with the limit: (\d+) %/.exec(stdout)?.[1])).toBeLessThanOrEqual(30);
    expect(stdout).toMatch(/nr_throttled [1-9]/);
    expect(groups()).toBe(before);
  });
});
