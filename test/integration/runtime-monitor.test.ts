import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, readlinkSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { EngineError } from "../../src/common/index.ts";
import { openCgroups } from "../../src/kernel/index.ts";
import { MonitorConnection, type OutputEvent, readExitRecord, readLog } from "../../src/runtime/index.ts";
import {
  busyboxPlan,
  type BusyboxRoot,
  type ContainerOptions,
  makeBusyboxRoot,
  startPlan,
} from "../support/busybox-container.ts";
import { mountsBelow, newScratch, type Scratch } from "../support/scratch.ts";

let scratch: Scratch;
let count = 0;

beforeAll(() => {
  scratch = newScratch();
});
afterAll(() => scratch[Symbol.asyncDispose]());

function newRoot(): BusyboxRoot {
  return makeBusyboxRoot(join(scratch.path, String(count++)));
}

async function untilUnmounted(root: BusyboxRoot): Promise<void> {
  while (mountsBelow(root.folder).length > 0) await Bun.sleep(2);
}

async function readText(root: BusyboxRoot): Promise<string> {
  let text = "";
  for await (const { data } of readLog(join(root.folder, "log"))) text += Buffer.from(data).toString();
  return text;
}

/** Runs a shell command as a container to its end. */
async function run(command: string, options: ContainerOptions = {}, root = newRoot()) {
  const { plan } = busyboxPlan(root, { ...options, process: { args: ["sh", "-c", command], ...options.process } });
  const start = await startPlan(root, plan);
  await start.go();
  const exit = await start.connection.exited;
  start.connection.close();
  await untilUnmounted(root);
  return { output: await readText(root), exit, start, root, plan };
}

/** The error of a start that must fail, and that nothing is left of it. */
async function failure(options: ContainerOptions): Promise<EngineError> {
  const root = newRoot();
  const { plan } = busyboxPlan(root, options);
  const error = await startPlan(root, plan)
    .then((start) => start.go())
    .then(() => undefined)
    .catch((thrown: unknown) => thrown);
  await untilUnmounted(root);
  if (!(error instanceof EngineError)) throw new Error("the start did not fail");
  return error;
}

test("a container is process 1 with a hostname and working directory of its own; its exit is told and recorded; every op is reported", async () => {
  const { output, exit, start, root, plan } = await run("echo $$ $(hostname) $(pwd); ls /; exit 7", {
    process: { cwd: "/tmp/made" },
  });
  expect(output.split("\n")[0]).toBe("1 box /tmp/made");
  expect(output).not.toContain("home");
  expect(exit).toMatchObject({ exitCode: 7, signal: 0, oomKilled: false });
  expect(readExitRecord(join(root.folder, "run/exit"))).toMatchObject({ exitCode: 7, pid: start.ready.pid });
  const reports = [...start.reports()].sort((left, right) => left.index - right.index);
  expect(reports.map(({ index }) => index)).toEqual(plan.ops.map((_, index) => index));
  expect(reports.filter(({ errno }) => errno !== 0)).toEqual([]);
});

const status = (output: string) =>
  Object.fromEntries(output.split("\n").map((line) => line.split(/:\s+/) as [string, string]));

describe("what the process may do", () => {
  test("root has Docker's fourteen capabilities and a seccomp filter", async () => {
    const { output } = await run("cat /proc/self/status");
    expect(status(output)).toMatchObject({
      CapEff: "00000000a80425fb",
      CapBnd: "00000000a80425fb",
      CapAmb: "0000000000000000",
      Seccomp: "2",
      NoNewPrivs: "0",
    });
  });
  test("a user has none, only the bounding set, and may write to /dev/stdout", async () => {
    const user = { uid: 1000, gid: 1000, groups: [10, 1000], home: "/home/app" };
    const { output } = await run("cat /proc/self/status; id > /dev/stdout", { process: { user } });
    expect(status(output)).toMatchObject({
      CapEff: "0000000000000000",
      CapPrm: "0000000000000000",
      CapBnd: "00000000a80425fb",
      Seccomp: "2",
    });
    expect(output).toContain("uid=1000(app) gid=1000(app) groups=10(wheel),1000(app)");
  });
  test("no-new-privileges is set before the filter", async () => {
    const user = { uid: 1000, gid: 1000, groups: [1000], home: "/" };
    const { output } = await run("cat /proc/self/status", {
      host: { SecurityOpt: ["no-new-privileges"] },
      process: { user },
    });
    expect(status(output)).toMatchObject({ NoNewPrivs: "1", Seccomp: "2", CapEff: "0000000000000000" });
  });
  test("the filter refuses mount and unshare, and seccomp=unconfined with CAP_SYS_ADMIN allows them", async () => {
    const command = "mount -t tmpfs none /tmp && echo mounted";
    expect((await run(command, { host: { CapAdd: ["SYS_ADMIN"] } })).output).toBe("mounted\n");
    expect((await run(command)).output).not.toContain("mounted");
    expect((await run("cat /proc/self/status", { host: { SecurityOpt: ["seccomp=unconfined"] } })).output).toContain(
      "Seccomp:\t0",
    );
  });
  test("a privileged container has every capability of the engine, no filter, all devices, and a writable /sys", async () => {
    const { output } = await run(
      "cat /proc/self/status; grep ' /sys ' /proc/self/mountinfo; ls /dev; ls /proc/kcore -l",
      { host: { Privileged: true } },
    );
    const own = /CapBnd:\s+(\w+)/.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
    expect(status(output)).toMatchObject({ CapEff: own, Seccomp: "0" });
    expect(output).toMatch(/ \/sys rw,/);
    if (existsSync("/dev/kmsg")) expect(output).toContain("kmsg");
  });
  test("limits, sysctls and masks are in force, and a kernel parameter without a namespace cannot be written", async () => {
    const host = { Ulimits: [{ Name: "nofile", Soft: 100, Hard: 200 }], Sysctls: { "kernel.msgmax": "9000" } };
    const command =
      "ulimit -n; ulimit -H -n; cat /proc/sys/kernel/msgmax /proc/sys/net/ipv4/ip_unprivileged_port_start; wc -c < /proc/keys; (echo 1 > /proc/sys/vm/swappiness) 2>/dev/null || echo refused";
    expect((await run(command, { host })).output).toBe("100\n200\n9000\n0\n0\nrefused\n");
  });
});

describe("what the process sees", () => {
  test("--read-only leaves volumes and tmpfs writable", async () => {
    const root = newRoot();
    mkdirSync(join(root.folder, "data"));
    const mounts = [
      { type: "bind", source: join(root.folder, "data"), target: "/data", options: ["rbind", "rprivate"] },
    ];
    const host = { ReadonlyRootfs: true, Tmpfs: { "/run": "size=1m" } };
    const command = "for d in /tmp /data /run /dev/shm; do touch $d/x 2>/dev/null && echo $d; done";
    expect((await run(command, { host, input: { mounts } }, root)).output).toBe("/data\n/run\n/dev/shm\n");
  });
  test("a mount made on the host below an rslave volume arrives; without it none does", async () => {
    for (const [propagation, expected] of [
      ["rslave", "there\n"],
      ["rprivate", "no\n"],
      ["rshared", "there\n"],
    ] as const) {
      const root = newRoot();
      const shared = join(root.folder, "shared");
      mkdirSync(join(shared, "sub"), { recursive: true });
      Bun.spawnSync(["mount", "--bind", shared, shared]);
      Bun.spawnSync(["mount", "--make-rshared", shared]);
      const mounts = [{ type: "bind", source: shared, target: "/data", options: ["rbind", propagation] }];
      const { plan } = busyboxPlan(root, {
        process: { args: ["sh", "-c", "test -e /data/sub/file && echo there || echo no"] },
        input: { mounts },
      });
      const start = await startPlan(root, plan);
      Bun.spawnSync(["mount", "-t", "tmpfs", "none", join(shared, "sub")]);
      writeFileSync(join(shared, "sub/file"), "");
      await start.go();
      await start.connection.exited;
      Bun.spawnSync(["umount", "-l", join(shared, "sub")]);
      Bun.spawnSync(["umount", "-l", shared]);
      await untilUnmounted(root);
      expect(await readText(root)).toBe(expected);
    }
  });
  test("a file bound over a file, and a link in the image that points out of the root stays inside of it", async () => {
    const root = newRoot();
    writeFileSync(join(root.folder, "hosts"), "from the engine\n");
    rmSync(join(root.lower, "tmp"), { recursive: true });
    Bun.spawnSync(["ln", "-s", "/../../../../etc", join(root.lower, "tmp")]);
    const mounts = [
      { type: "bind", source: join(root.folder, "hosts"), target: "/etc/hosts", options: ["rbind", "rprivate"] },
      { type: "bind", source: join(root.folder, "hosts"), target: "/tmp/through-a-link", options: ["rbind", "ro"] },
    ];
    const { output } = await run(
      "cat /etc/hosts /etc/through-a-link; (echo x > /etc/through-a-link) 2>/dev/null || echo read-only",
      { input: { mounts } },
      root,
    );
    expect(output).toContain("from the engine\nfrom the engine\n");
    expect(output).toContain("read-only\n");
    expect(existsSync("/etc/through-a-link")).toBe(false);
  });
  test("its own control group at /sys/fs/cgroup, and / as its path in a private cgroup namespace", async () => {
    const cgroups = openCgroups();
    const path = `/vitrine-test-${process.pid}/runtime`;
    try {
      const cgroupDirectories = cgroups.create(path, { pids: 77 });
      const version = cgroups.support.version;
      const base = { cgroupPath: path, cgroupVersion: version };
      const command = `cat /proc/self/cgroup; cd /sys/fs/cgroup; cat pids/pids.max pids.max .${path}/pids.max 2>/dev/null; touch x || echo sealed`;
      const host = await run(command, { cgroupDirectories, input: base });
      expect(host.output).toContain(`:${path}\n`);
      expect(host.output).toContain("\n77\n");
      expect(host.output).toContain("sealed");
      const own = await run(command, { cgroupDirectories, input: { ...base, namespaces: privateGroups } });
      expect(own.output).toMatch(version === "v2" ? /^0::\/$/m : /:pids:\/$/m);
      expect(own.output).toContain("\n77\n");
    } finally {
      await cgroups.remove(path);
      await cgroups.remove(`/vitrine-test-${process.pid}`);
    }
  });
});

const fresh = { kind: "new" } as const;
const privateGroups = {
  mnt: fresh,
  pid: fresh,
  ipc: fresh,
  uts: fresh,
  net: fresh,
  cgroup: fresh,
  user: { kind: "host" },
} as const;

describe("a start that fails says which op, in Docker's words, and leaves nothing", () => {
  test("a program that is not there", async () => {
    const error = await failure({ process: { args: ["nope"] } });
    expect(error.message).toBe(
      'unable to start container process: exec: "nope": executable file not found in $PATH (child: exec, ENOENT)',
    );
    expect(error.data).toMatchObject({ exitCode: 127, op: "exec" });
    expect((await failure({ process: { args: ["/no/such"] } })).message).toContain(
      'exec: "/no/such": stat /no/such: no such file or directory',
    );
  });
  test("a file that is no program, a working directory that is a file, a volume that is not there", async () => {
    const error = await failure({ process: { args: ["/etc/passwd"] } });
    expect(error.message).toContain('exec: "/etc/passwd": permission denied');
    expect(error.data["exitCode"]).toBe(126);
    expect((await failure({ process: { args: ["true"], cwd: "/etc/passwd" } })).message).toContain("/etc/passwd");
    const mounts = [{ type: "bind", source: "/no/such/volume", target: "/data", options: ["rbind"] }];
    const bind = await failure({ input: { mounts } });
    expect(bind.message).toContain('error mounting "/no/such/volume" to rootfs at "/data": no such file or directory');
    expect(bind.data).toMatchObject({ op: "bind", errnoName: "ENOENT" });
  });
  test("a start that is aborted before leave is given is undone before abort returns", async () => {
    const root = newRoot();
    const { plan } = busyboxPlan(root);
    const start = await startPlan(root, plan);
    expect(readlinkSync(`/proc/${start.ready.pid}/ns/mnt`)).not.toBe(readlinkSync("/proc/self/ns/mnt"));
    await start.abort();
    expect(existsSync(`/proc/${start.ready.pid}`)).toBe(false);
    expect(mountsBelow(root.folder)).toEqual([]);
  });
});

async function collect(events: AsyncIterable<OutputEvent>): Promise<string> {
  let text = "";
  for await (const event of events) if (event.kind === "data") text += Buffer.from(event.data).toString();
  return text;
}

describe("connections", () => {
  test("a second connection attaches with stdin, sends a signal, learns the exit; the first is told as well", async () => {
    const root = newRoot();
    const command =
      "trap 'echo caught; exit 3' TERM; while read line; do echo got $line; done; while :; do sleep 0.01; done";
    const { plan } = busyboxPlan(root, { process: { args: ["sh", "-c", command] }, settings: { "open-stdin": "1" } });
    const start = await startPlan(root, plan);
    const client = await MonitorConnection.connect(plan.settings["socket"] ?? "");
    expect((await client.hello()).pid).toBe(0);
    const position = await client.attach({ stdin: true, stdout: true, stderr: true });
    expect(position).toEqual({ inode: statSync(join(root.folder, "log"), { bigint: true }).ino, offset: 0 });
    await client.subscribe();
    await start.go();
    const output = collect(client.output);
    await client.write(Buffer.from("one\ntwo\n"));
    client.closeInput();
    while (!(await readText(root)).includes("got two")) await Bun.sleep(2);
    await client.signal(15);
    expect(await client.exited).toMatchObject({ exitCode: 3 });
    expect(await start.connection.exited).toMatchObject({ exitCode: 3 });
    expect(await output).toBe("got one\ngot two\ncaught\n");
    client.close();
    start.connection.close();
    await untilUnmounted(root);
  });
  test("a terminal is the container's own, is its console, has the size it is given, and Ctrl-C reaches it", async () => {
    const root = newRoot();
    const command =
      "tty; readlink /proc/self/fd/0; test -c /dev/console && echo console; read line; stty size; trap 'echo interrupted; exit 4' INT; echo ready; while :; do sleep 0.01; done";
    const { plan } = busyboxPlan(root, {
      process: { args: ["sh", "-c", command], terminal: true },
      settings: { tty: "1", "open-stdin": "1" },
    });
    const start = await startPlan(root, plan);
    const client = await MonitorConnection.connect(plan.settings["socket"] ?? "");
    await client.attach({ stdin: true, stdout: true });
    await start.go();
    await client.resize({ rows: 33, columns: 111 });
    await client.write(Buffer.from("\n"));
    let text = "";
    for await (const event of client.output) {
      if (event.kind === "data") text += Buffer.from(event.data).toString();
      if (text.includes("ready") && !text.includes("^C")) await client.write(Buffer.from("\x03"));
    }
    // The terminal echoes the typed newline whenever it comes.
    expect(text.replaceAll(/(\r\n)+/g, "\r\n")).toContain("/dev/pts/0\r\n/dev/pts/0\r\nconsole\r\n");
    expect(text).toContain("33 111\r\n");
    expect(text).toContain("interrupted");
    expect(await start.connection.exited).toMatchObject({ exitCode: 4 });
    await untilUnmounted(root);
  });
  test("what listens no more is unavailable", async () => {
    const error = await MonitorConnection.connect(join(scratch.path, "nobody.sock")).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "unavailable" });
  });
});
