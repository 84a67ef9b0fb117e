// What the engine tells of a container, against what bash can make of it and what the kernel saw.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import type { TracedOp } from "../../src/spec/index.ts";
import { mountsBelow } from "../support/scratch.ts";
import { straceOf } from "../support/strace.ts";
import { startTestEngine, waitFor, type TestEngine } from "../support/test-engine.ts";

let engine: TestEngine;

beforeAll(async () => {
  engine = await startTestEngine();
}, 60_000);

afterAll(async () => {
  await engine[Symbol.asyncDispose]();
}, 60_000);

const noMerged = (): boolean => mountsBelow(engine.scratch.path).every((target) => !target.endsWith("/merged"));

/** Every monitor is in this group, in each hierarchy, until it ends. */
const noMonitor = (): boolean =>
  ["", ...readdirSync("/sys/fs/cgroup")]
    .map((tree) => join("/sys/fs/cgroup", tree, engine.instance, "monitors", "cgroup.procs"))
    .filter((file) => existsSync(file))
    .every((file) => readFileSync(file, "utf8") === "");

/** mountinfo without numbers that differ each time, and what an overlay's very first mount adds. */
function comparable(lines: readonly string[]): string[] {
  return lines.map((line) =>
    line
      .split(" ")
      .slice(3)
      .join(" ")
      .replace(/,uuid=on$/, ""),
  );
}

describe("the script of `explain --script`, under bash, with the daemon stopped", () => {
  // bash's exec puts SHLVL into the environment, whatever was unset before.
  const look = `echo $$ $(hostname) $(pwd) $(umask); id; grep -e Cap -e NoNewPrivs /proc/self/status; ulimit -n
    cat /proc/self/cgroup; cat /etc/hostname /data/note; env | grep -v ^SHLVL | sort; cat /proc/self/mountinfo; exit 6`;
  const options = [
    [
      "--name",
      "same",
      "--hostname",
      "box",
      "--workdir",
      "/srv/it is here",
      "--user",
      "1000:1000",
      "-e",
      "WORD=it's here",
    ],
    ["-v", "data:/data", "--tmpfs", "/run/cache:size=1m", "-m", "100m", "--ulimit", "nofile=64:128", "--read-only"],
  ].flat();

  test("gives process 1, hostname, identity, limits, groups, environment and mounts of the container itself", async () => {
    await engine.must("run", "--rm", "-v", "data:/data", "vitrine/base", "sh", "-c", "echo kept > /data/note");
    const real = await engine.vitrine("run", ...options, "vitrine/base", "sh", "-c", look);
    expect(real.exitCode).toBe(6);
    const script = await engine.must("explain", "--script", "same");
    await waitFor("the container's root to be unmounted", noMerged);
    await engine.stop();
    const mountsBefore = mountsBelow(engine.scratch.path);

    const byHand = Bun.spawnSync(["bash", "-s"], { stdin: Buffer.from(script), stderr: "pipe" });
    const mountsAfter = mountsBelow(engine.scratch.path);
    await engine.start();
    expect(byHand.stderr.toString()).toBe("");
    expect(byHand.exitCode).toBe(6);
    const isMount = (line: string): boolean => line.includes(" - ");
    const [own, theirs] = [byHand.stdout.toString().split("\n"), real.stdout.split("\n")];
    expect(own[0]).toBe("1 box /srv/it is here 0022");
    expect(own.filter((line) => !isMount(line))).toEqual(theirs.filter((line) => !isMount(line)));
    expect(own).toContain("kept");
    expect(comparable(own.filter(isMount))).toEqual(comparable(theirs.filter(isMount)));
    expect(theirs.filter(isMount).length).toBeGreaterThan(15);
    // It takes away what it made.
    expect(mountsAfter).toEqual(mountsBefore);
    await engine.must("rm", "same");
  }, 60_000);
});

test("the script of a container that never started says what it lacks", async () => {
  await engine.must("create", "--name", "fresh", "vitrine/base", "true");
  const script = await engine.must("explain", "--script", "fresh");
  const run = Bun.spawnSync(["bash", "-s"], { stdin: Buffer.from(script), stderr: "pipe" });
  expect(run.exitCode).toBe(125);
  expect(run.stderr.toString()).toMatch(/resolv\.conf is not there: .* \(vitrine start\)\n$/);
  expect(mountsBelow(engine.scratch.path).filter((target) => target.endsWith("/merged"))).toEqual([]);
  await engine.must("rm", "fresh");
});

test("explain of an image prints the plan of that run, and leaves nothing behind", async () => {
  const before = await engine.must("ps", "-aq");
  const text = await engine.must("explain", "--hostname", "told", "-v", "told:/told", "vitrine/base", "true");
  expect(text).toContain("sethostname told");
  expect(text).toMatch(/child +exec true 1 true/);
  expect(text.split("\n").every((line) => /^ *\d+ +(monitor|child) .*# .+/.test(line))).toBe(true);
  expect(await engine.must("ps", "-aq")).toBe(before);
});

/** The calls that an op makes, as a pattern over strace's lines; each ends in a newline. */
function callsOf(op: TracedOp): string {
  const [first = "", second = "", third = ""] = op.arguments;
  const path = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const attach = `(?:mount_setattr\\(.*\\n)*move_mount\\(.*\\n`;
  switch (op.name) {
    case "mount":
      return `mount\\("${path(second)}", "[^"]*", "${first}", .*\\n(?:mount_setattr\\(.*\\n)*`;
    case "bind":
      // A file to mount upon is made where there is none: a node of type regular.
      return `(?:mknodat\\(\\d+, "[^"]*", S_IFREG.*\\n)?open_tree\\(AT_FDCWD, "${path(first)}", .*\\n${attach}`;
    case "remount":
      return "mount_setattr\\(.*\\n".repeat(kindsOf(second));
    case "clone":
      return `clone3\\(\\{flags=${first
        .split(",")
        .map((name) => `(?=[^,]*${cloneFlags[name]}\\b)`)
        .join("")}.*\\n`;
    case "setns":
      return `setns\\(\\d+, ${cloneFlags[first]}\\).*\\n`;
    case "unshare":
      return `unshare\\(${cloneFlags[first]}\\).*\\n`;
    case "mknod":
      return `mknodat\\(\\d+, "${basename(first)}", S_IF${second === "b" ? "BLK" : "CHR"}\\|0${third}, makedev\\(${hex(op.arguments[3])}, ${hex(op.arguments[4])}\\)\\).*\\n`;
    case "symlink":
      return `symlinkat\\("${path(first)}", \\d+, "${basename(second)}"\\).*\\n`;
    case "pivot-root":
      return `pivot_root\\(".", "."\\).*\\nmount\\(NULL, ".", NULL, MS_REC\\|MS_SLAVE, NULL\\).*\\numount2\\(".", MNT_DETACH\\).*\\n`;
    case "sethostname":
      return `sethostname\\("${path(first)}", \\d+\\).*\\n`;
    // A path that this kernel does not have needs no call.
    case "read-only-path":
      return `(?:open_tree\\(.*\\n${attach})?`;
    case "mask":
      return `(?:fsopen\\("tmpfs".*\\n(?:fsconfig\\(.*\\n)*fsmount\\(.*\\nmove_mount\\(.*\\n|open_tree\\(.*\\n${attach})?`;
    case "rlimit":
      return `prlimit64\\(0, RLIMIT_${first.toUpperCase()}, \\{rlim_cur=${second}, rlim_max=${third}\\}, NULL\\).*\\n`;
    case "keyring":
      return `keyctl\\(KEYCTL_JOIN_SESSION_KEYRING, "${first}"\\).*\\n(?:keyctl\\(KEYCTL_SETPERM.*\\n)?`;
    case "session":
      return `setsid\\(\\).*\\n`;
    case "groups":
      return `setgroups\\(${first.split(",").length}, \\[${first.split(",").join(", ")}\\]\\).*\\n`;
    case "user":
      return `setresgid\\(${second}, ${second}, ${second}\\).*\\nsetresuid\\(${first}, ${first}, ${first}\\).*\\n(?:capset\\(.*\\n)?`;
    case "capabilities":
      return first === "keep"
        ? `prctl\\(PR_SET_KEEPCAPS, 1\\).*\\n(?:prctl\\(PR_CAPBSET_DROP, .*\\n)*`
        : `capset\\(.*\\n(?:prctl\\(PR_CAP_AMBIENT, .*\\n)*prctl\\(PR_SET_KEEPCAPS, 0\\).*\\n`;
    case "no-new-privs":
      return `prctl\\(PR_SET_NO_NEW_PRIVS, 1, .*\\n`;
    case "seccomp":
      return `seccomp\\(SECCOMP_SET_MODE_FILTER, .*\\{len=${first.length / 16}, .*\\n`;
    case "exec":
      return `(?:execve\\("[^"]*/${path(first)}", .* = -1 .*\\n)*execve\\("[^"]*/${path(first)}", .* = 0\\n`;
    // Files and descriptors: no privileged call.
    case "send-fd":
    case "join-cgroup":
    case "sysctl":
    case "mkdir":
    case "oom-score":
    case "sync":
    case "umask":
    case "close-range":
    case "chdir":
      return "";
    default:
      throw new Error(`What does the op ${op.name} call?`);
  }
}

const cloneFlags: Readonly<Record<string, string>> = {
  mnt: "CLONE_NEWNS",
  pid: "CLONE_NEWPID",
  uts: "CLONE_NEWUTS",
  ipc: "CLONE_NEWIPC",
  net: "CLONE_NEWNET",
  user: "CLONE_NEWUSER",
  cgroup: "CLONE_NEWCGROUP",
};

/** Attributes and propagation of a mount are two calls. */
function kindsOf(flags: string): number {
  const words = flags.split(",").filter((flag) => flag !== "rec");
  const propagation = words.filter((flag) => /^r?(private|slave|shared|unbindable)$/.test(flag)).length;
  return Math.min(propagation, 1) + Math.min(words.length - propagation, 1);
}

const hex = (decimal = "0"): string => (decimal === "0" ? "0" : `0x${Number(decimal).toString(16)}`);

/** Walks through the calls op by op; answers what is left, and throws where the next op's calls are not the next ones. */
function walk(ops: readonly TracedOp[], calls: readonly string[]): string {
  let rest = `${calls.join("\n")}\n`;
  for (const op of ops) {
    const match = new RegExp(`^${callsOf(op)}`).exec(rest);
    if (!match)
      throw new Error(
        `Op ${op.index} "${op.name} ${op.arguments.join(" ").slice(0, 200)}" is not what came next:\n${rest.slice(0, 1000)}`,
      );
    rest = rest.slice(match[0].length);
  }
  return rest;
}

describe("strace of the helper, against `run --trace`", () => {
  const cases: readonly (readonly [what: string, words: readonly string[]])[] = [
    ["a plain run", []],
    [
      "a user, a volume, limits, no-new-privs, a private view of groups",
      [
        "-v",
        "traced:/data",
        "--user",
        "1000:1000",
        "--ulimit",
        "nofile=64:128",
        "--security-opt",
        "no-new-privileges",
      ].concat(["--cgroupns", "private", "--read-only", "--tmpfs", "/scratch", "--cap-drop", "ALL", "-m", "100m"]),
    ],
    ["no network and a hostname", ["--net", "none", "--hostname", "seen"]],
    ["a terminal, and shared namespaces of the host", ["-t", "--pid", "host", "--ipc", "host", "--net", "host"]],
    ["privileged", ["--privileged"]],
  ];
  test.each(cases)(
    "%s: every privileged call is in the plan, in order",
    async (_, words) => {
      const strace = await straceOf(engine.pid);
      await using _strace = strace;
      const { stderr, exitCode } = await engine.vitrine(
        "run",
        "-d",
        "--name",
        "traced",
        "--trace",
        ...words,
        "vitrine/base",
        "true",
      );
      expect(exitCode).toBe(0);
      await engine.must("wait", "traced");
      await waitFor("the monitor to be gone", noMonitor);
      const { ops } = (await (await engine.api("GET", "/vitrine/containers/traced/plan")).json()) as {
        ops: TracedOp[];
      };
      const calls = await strace.calls();
      await engine.must("rm", "-v", "traced");

      // What --trace printed is these ops, each with its result.
      const printed = stderr.trim().split("\n");
      expect(printed.map((line) => line.trim().split(/ +/).slice(0, 3))).toEqual(
        ops.map((op) => [String(op.index), op.actor, op.name]),
      );
      expect(printed.every((line) => / ok +\d+ µs {2}# /.test(line))).toBe(true);

      const monitor = [...calls].find(([, lines]) => lines[0]?.startsWith("prctl(PR_SET_CHILD_SUBREAPER"));
      const child = Number(/ = (\d+)$/.exec(monitor?.[1].find((line) => /CLONE_NEWNS/.test(line)) ?? "")?.[1]);
      const undone = walk(
        ops.filter(({ actor }) => actor === "monitor"),
        monitor?.[1].slice(1) ?? [],
      );
      // The monitor's only further calls undo its mounts, the last one first.
      const mounted = ops
        .filter(({ actor, name }) => actor === "monitor" && name === "mount")
        .map((op) => op.arguments[2] ?? "");
      const unmounted = undone
        .trim()
        .split("\n")
        .map((line) => /^umount2\("([^"]*)", MNT_DETACH\|UMOUNT_NOFOLLOW\)/.exec(line)?.[1] ?? line);
      expect(unmounted).toEqual(mounted.toReversed());
      // The child's last is the program itself.
      expect(
        walk(
          ops.filter(({ actor }) => actor === "child"),
          calls.get(child) ?? [],
        ),
      ).toBe("");
    },
    60_000,
  );
});
