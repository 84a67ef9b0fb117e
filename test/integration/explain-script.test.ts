import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openCgroups } from "../../src/kernel/index.ts";
import { explainScript, explainText } from "../../src/lens/index.ts";
import { encodeOciSpec, readLog } from "../../src/runtime/index.ts";
import type { OciSpec, Plan } from "../../src/spec/index.ts";
import {
  busyboxPlan,
  type BusyboxRoot,
  type ContainerOptions,
  makeBusyboxRoot,
  startPlan,
} from "../support/busybox-container.ts";
import { mountsBelow, newScratch, type Scratch } from "../support/scratch.ts";

let scratch: Scratch;

beforeAll(() => {
  scratch = newScratch();
});
afterAll(() => scratch[Symbol.asyncDispose]());

async function realOutput(root: BusyboxRoot, plan: Plan): Promise<string> {
  const start = await startPlan(root, plan);
  await start.go();
  await start.connection.exited;
  start.connection.close();
  while (mountsBelow(root.folder).length > 0) await Bun.sleep(2);
  let text = "";
  for await (const { data } of readLog(join(root.folder, "log"))) text += Buffer.from(data).toString();
  return text;
}

/** mountinfo without what differs from run to run: mount and device numbers, peer groups, and what an overlay's second mount adds. */
function comparable(mountinfo: string): string[] {
  return mountinfo
    .split("\n")
    .filter((line) => line.includes(" - "))
    .map((line) =>
      line
        .split(" ")
        .slice(3)
        .join(" ")
        .replace(/,uuid=on$/, ""),
    );
}

function volumes(root: BusyboxRoot): ContainerOptions["input"] {
  mkdirSync(join(root.folder, "data"));
  writeFileSync(join(root.folder, "hosts"), "127.0.0.1 localhost\n");
  return {
    mounts: [
      { type: "bind", source: join(root.folder, "data"), target: "/data/deep", options: ["rbind", "rprivate", "ro"] },
      { type: "bind", source: join(root.folder, "hosts"), target: "/etc/hosts", options: ["rbind", "rprivate"] },
      { type: "tmpfs", source: "tmpfs", target: "/run/cache", options: ["nosuid", "nodev", "noexec", "size=1m"] },
    ],
  };
}

const command =
  "echo $$ $(hostname) $(pwd) $(umask); id; ulimit -n; grep Cap /proc/self/status; cat /proc/self/mountinfo; exit 9";

describe("the script under bash, with no engine, gives what the plan gives", () => {
  test("process 1, hostname, directory, user, limits, capabilities and the same mountinfo", async () => {
    const root = makeBusyboxRoot(join(scratch.path, "plain"));
    const user = { uid: 1000, gid: 1000, groups: [10, 1000], home: "/" };
    const { plan } = busyboxPlan(root, {
      process: { args: ["sh", "-c", command], cwd: "/srv/it's here", user },
      host: { Ulimits: [{ Name: "nofile", Soft: 64, Hard: 128 }], ReadonlyRootfs: true },
      input: volumes(root) ?? {},
    });
    const real = await realOutput(root, plan);
    const script = Bun.spawnSync(["bash", "-s"], { stdin: Buffer.from(explainScript(plan)), stderr: "pipe" });
    const text = script.stdout.toString();
    expect(script.stderr.toString()).toBe("");
    expect(script.exitCode).toBe(9);
    const [head, identity] = text.split("\n");
    expect(head).toBe("1 box /srv/it's here 0022");
    expect(identity).toBe("uid=1000(app) gid=1000(app) groups=10(wheel),1000(app)");
    expect(text.split("\n").slice(0, 8)).toEqual(real.split("\n").slice(0, 8));
    expect(comparable(text).length).toBeGreaterThan(12);
    expect(comparable(text)).toEqual(comparable(real));
    expect(mountsBelow(root.folder)).toEqual([]);
  });

  test("with control groups, seen whole or in a namespace of its own", async () => {
    const cgroups = openCgroups();
    const path = `/vitrine-test-script-${process.pid}`;
    const fresh = { kind: "new" } as const;
    const namespaces = { mnt: fresh, pid: fresh, ipc: fresh, uts: fresh, net: fresh, user: { kind: "host" } } as const;
    for (const cgroup of ["host", "new"] as const) {
      const root = makeBusyboxRoot(join(scratch.path, `groups-${cgroup}`));
      const directories = cgroups.create(path, {});
      const { plan } = busyboxPlan(root, {
        process: { args: ["sh", "-c", `cat /proc/self/cgroup; ${command}`] },
        input: {
          cgroupPath: path,
          cgroupVersion: cgroups.support.version,
          namespaces: { ...namespaces, cgroup: { kind: cgroup } },
        },
        cgroupDirectories: directories,
      });
      const real = await realOutput(root, plan);
      await cgroups.remove(path);
      const script = Bun.spawnSync(["bash", "-s"], { stdin: Buffer.from(explainScript(plan)), stderr: "pipe" });
      const text = script.stdout.toString();
      expect(script.stderr.toString()).toBe("");
      expect(text.split("\n1 box")[0]).toBe(real.split("\n1 box")[0] ?? "");
      expect(comparable(text)).toEqual(comparable(real));
      // What the script made is gone again.
      expect(directories.filter((directory) => Bun.spawnSync(["test", "-e", directory]).exitCode === 0)).toEqual([]);
    }
  });

  test("where the root is moved instead of pivoted", async () => {
    const root = makeBusyboxRoot(join(scratch.path, "moved"));
    const { plan } = busyboxPlan(root, { process: { args: ["sh", "-c", command] }, pivot: "chroot" });
    const real = await realOutput(root, plan);
    const script = Bun.spawnSync(["bash", "-s"], { stdin: Buffer.from(explainScript(plan)), stderr: "pipe" });
    expect(script.stderr.toString()).toBe("");
    expect(script.stdout.toString().split("\n").slice(0, 7)).toEqual(real.split("\n").slice(0, 7));
  });

  test("it refuses while the container runs", async () => {
    const root = makeBusyboxRoot(join(scratch.path, "running"));
    const { plan } = busyboxPlan(root);
    const start = await startPlan(root, plan);
    const script = Bun.spawnSync(["bash", "-s"], { stdin: Buffer.from(explainScript(plan)), stderr: "pipe" });
    await start.abort();
    expect(script.exitCode).toBe(125);
    expect(script.stderr.toString()).toContain("the container is running");
  });
});

test("the list tells every op with its reason, and its result once it has one", async () => {
  const root = makeBusyboxRoot(join(scratch.path, "text"));
  const { plan } = busyboxPlan(root);
  const plain = explainText(plan.ops);
  expect(plain.split("\n").filter((line) => /^ +\d+ (monitor|child) /.test(line)).length).toBe(plan.ops.length);
  expect(plain).toContain("seccomp         374 instructions spec-allow\n");
  const start = await startPlan(root, plan);
  await start.go();
  await start.connection.exited;
  const results = new Map(start.reports().map((report) => [report.index, report]));
  const traced = explainText(plan.ops.map((op, index) => ({ ...op, index, ...results.get(index) })));
  expect(traced.split("\n").filter((line) => line.endsWith(" µs")).length).toBe(plan.ops.length);
  while (mountsBelow(root.folder).length > 0) await Bun.sleep(2);
});

/** Runs the bundle with Debian's runc on a copy of the root without an overlay. */
function runcOutput(root: BusyboxRoot, spec: OciSpec): string {
  const bundle = join(root.folder, "bundle");
  mkdirSync(bundle);
  const own = { ...spec, root: { ...spec.root, path: root.lower } };
  writeFileSync(join(bundle, "config.json"), encodeOciSpec(own));
  const state = join(root.folder, "runc");
  const name = `vt-${process.pid}-${Math.random().toString(36).slice(2)}`;
  const ran = Bun.spawnSync(["runc", "--root", state, "run", "--bundle", bundle, name], {
    stdin: "ignore",
    stderr: "pipe",
  });
  rmSync(state, { recursive: true, force: true });
  expect(ran.stderr.toString()).toBe("");
  return ran.stdout.toString();
}

const lines = (text: string) =>
  text.split("\n").filter((line) => !line.includes(" - ") && !/^(total|[cdl][rwxst-]{9})/.test(line));

const points = (text: string) =>
  text
    .split("\n")
    .filter((line) => line.includes(" - "))
    .map((line) => line.split(" ").slice(4, 6).join(" "));

/** A hidden directory is nosuid, nodev and noexec here, which runc leaves out; the group's controllers are runc's own: the plan was given none. */
const own = (list: string[]) =>
  list
    .filter((line) => !line.startsWith("/sys/fs/cgroup") && !line.startsWith("/ "))
    .map((line) => line.replace(/^(\/proc\/acpi|\/sys\/firmware|\/proc\/scsi|\/proc\/asound) ro,.*/, "$1 ro"))
    .sort();

const nodes = (text: string) =>
  text
    .split("\n")
    .filter((line) => /^[cl][rwxst-]{9}/.test(line))
    .map((line) => line.replace(/[A-Z][a-z]{2} +\d+ [\d:]+/, ""))
    .sort();

describe("runc, given the same config.json", () => {
  test("makes a container with the same identity, capabilities, filter mode and mounts", async () => {
    const root = makeBusyboxRoot(join(scratch.path, "runc"));
    const path = `/vitrine-test-runc-${process.pid}`;
    const { spec, plan } = busyboxPlan(root, {
      process: {
        args: ["sh", "-c", `${command.replace("exit 9", "true")}; grep Seccomp: /proc/self/status; ls -l /dev`],
        cwd: "/tmp",
      },
      host: {
        Ulimits: [
          { Name: "nofile", Soft: 64, Hard: 128 },
          { Name: "core", Soft: -1, Hard: -1 },
        ],
      },
      input: { ...volumes(root), cgroupPath: path },
    });
    const ours = await realOutput(root, plan);
    const theirs = runcOutput(root, spec);
    expect(lines(ours)).toEqual(lines(theirs));
    expect(own(points(ours))).toEqual(own(points(theirs)));
    expect(nodes(ours)).toEqual(nodes(theirs));
  });
});
