import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readFileSync, readdirSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { encodePlan, op } from "../../src/spec/index.ts";
import { frame } from "../support/frames.ts";
import { sanitizedHelper } from "../support/helper-binary.ts";
import { containerOps, eventually, makeBusyboxRoot, readRecord, startMonitored } from "../support/monitored.ts";
import { mountsBelow, newScratch } from "../support/scratch.ts";

const scratch = newScratch();
const folder = scratch.path;
let root = "";
beforeAll(async () => {
  await sanitizedHelper();
  root = makeBusyboxRoot(folder);
}, 60_000);
afterAll(() => scratch[Symbol.asyncDispose]());

const shell = (script: string) => ["sh", "-c", script];
const tmpfsOn = (target: string) => op("monitor", "mount", ["tmpfs", "tmpfs", target, "", "", "", ""], "");

test("a plan becomes a process whose output, exit code and record are told in order", async () => {
  const ops = containerOps({ root, words: shell("echo out; echo err >&2; hostname; echo pid $$; exit 7") });
  await using container = await startMonitored({ folder, ops });
  await container.start.next(frame.ready);
  const client = await container.attach("stdout", "stderr");
  const pid = await container.go();
  const exited = await container.start.next(frame.exited);
  await client.untilClosed();
  expect(client.text(frame.stdout)).toBe("out\nwalled\npid 1\n");
  expect(client.text(frame.stderr)).toBe("err\n");
  expect(exited.fields.slice(0, 3)).toEqual(["7", "0", "0"]);
  const record = readRecord(container.exitRecordPath);
  expect(record).toMatchObject({ "exit-code": "7", signal: "0", oom: "0", pid: String(pid) });
  expect(record["finished-at"]).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$/);
  expect(existsSync(container.socketPath)).toBe(false);
});

test("the hello states protocol, plan version, op set, container and log offset", async () => {
  await using container = await startMonitored({ folder, ops: containerOps({ root, words: ["sleep", "60"] }) });
  const before = await container.start.next(frame.hello);
  expect(before.fields).toEqual(["1", "1", "2", "c0ffee", "0", "0"]);
  const pid = await container.go();
  const later = await container.connect();
  expect((await later.next(frame.hello)).fields[4]).toBe(String(pid));
  later.close();
});

test("every op is reported once, with its errno and how long it took", async () => {
  const ops = containerOps({ root, words: ["true"] });
  await using container = await startMonitored({ folder, ops });
  await container.go();
  const reports = container.start.frames.filter(({ type }) => type === frame.report).flatMap(({ fields }) => fields);
  const indexes = reports.filter((_, at) => at % 4 === 0).map(Number);
  expect(indexes.toSorted((a, b) => a - b)).toEqual(ops.map((_, index) => index));
  expect(reports.filter((_, at) => at % 4 === 1).every((number) => number === "0")).toBe(true);
});

test("`started` names the process that the kernel knows, as it stands in /proc", async () => {
  await using container = await startMonitored({ folder, ops: containerOps({ root, words: ["sleep", "60"] }) });
  const pid = await container.go();
  const [, startTime] = (await container.start.next(frame.started)).fields;
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  expect(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]).toBe(startTime ?? "");
  for (const name of ["mnt", "pid", "uts", "ipc", "net"]) {
    expect(readlinkSync(`/proc/${pid}/ns/${name}`)).not.toBe(readlinkSync(`/proc/self/ns/${name}`));
  }
});

test("the process has three descriptors, the plan's environment and no other", async () => {
  const ops = containerOps({ root, words: ["sleep", "60"], environment: ["PATH=/bin", "A=b c"] });
  await using container = await startMonitored({ folder, ops });
  const pid = await container.go();
  expect(readdirSync(`/proc/${pid}/fd`).toSorted()).toEqual(["0", "1", "2"]);
  expect(readlinkSync(`/proc/${pid}/fd/0`)).toBe("/dev/null");
  expect(readFileSync(`/proc/${pid}/environ`, "utf8")).toBe("PATH=/bin\0A=b c\0");
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  expect(status).toMatch(/SigBlk:\s+0+\n/);
  expect(status).toMatch(/SigIgn:\s+0+\n/);
});

describe("a daemon that dies", () => {
  test("before `go` leaves nothing: no process, no mount, no socket", async () => {
    const ops = containerOps({ root, words: ["sleep", "60"], before: [tmpfsOn(join(root, "tmp"))] });
    await using container = await startMonitored({ folder, ops });
    const pid = Number((await container.start.next(frame.ready)).fields[0]);
    expect(mountsBelow(root)).toContain(join(root, "tmp"));
    container.start.close();
    await eventually("the socket is gone", () => !existsSync(container.socketPath));
    await eventually("the mount is gone", () => mountsBelow(root).length === 0);
    expect(existsSync(`/proc/${pid}`)).toBe(false);
    expect(existsSync(container.exitRecordPath)).toBe(false);
  });

  test("after `go` changes nothing: the container runs, and its exit is on record", async () => {
    const ops = containerOps({ root, words: shell("until test -e /tmp/end; do sleep 0.02; done; exit 3") });
    await using container = await startMonitored({ folder, ops });
    await container.go();
    container.start.close();
    writeFileSync(join(root, "tmp/end"), "");
    await eventually("the exit is on record", () => readRecord(container.exitRecordPath)["exit-code"] === "3");
  });
});

test("a failed op of the child is named, and everything before it is undone", async () => {
  const ops = containerOps({
    root,
    words: ["true"],
    before: [tmpfsOn(join(root, "sys"))],
    beforeExec: [op("child", "chdir", ["/nowhere"], "")],
  });
  await using container = await startMonitored({ folder, ops });
  await container.start.next(frame.ready);
  container.start.send(frame.go);
  const failed = await container.start.next(frame.failed);
  expect(failed.fields).toEqual([String(ops.length - 2), "2", 'chdir "/nowhere"']);
  await container.start.untilClosed(2000);
  expect(mountsBelow(root)).toEqual([]);
  expect(existsSync(container.exitRecordPath)).toBe(false);
});

test("a failed op of the monitor is named, and the mounts before it are undone in reverse order", async () => {
  const before = [tmpfsOn(join(root, "tmp")), op("monitor", "mkdir", ["/a/b", "755", "0", "0", join(root, "tmp")], "")];
  const nested = [tmpfsOn(join(root, "tmp/a/b")), tmpfsOn(join(root, "not-there"))];
  const ops = containerOps({ root, words: ["true"], before: [...before, ...nested] });
  await using container = await startMonitored({ folder, ops });
  const failed = await container.start.next(frame.failed);
  expect(failed.fields.slice(0, 2)).toEqual(["3", "2"]);
  expect(mountsBelow(root)).toEqual([]);
});

test("an exec that fails is told with its errno: not found, not executable", async () => {
  for (const [word, number] of [
    ["no-such-program", "2"],
    ["/no/such/program", "2"],
    ["/etc", "13"],
  ] as const) {
    const ops = containerOps({ root, words: [word] });
    await using container = await startMonitored({ folder, ops });
    await container.start.next(frame.ready);
    container.start.send(frame.go);
    expect((await container.start.next(frame.failed)).fields.slice(0, 2)).toEqual([String(ops.length - 1), number]);
  }
});

test("a child killed before its exec is a failure, not an exit", async () => {
  await using container = await startMonitored({ folder, ops: containerOps({ root, words: ["true"] }) });
  const pid = Number((await container.start.next(frame.ready)).fields[0]);
  process.kill(pid, "SIGKILL");
  expect((await container.start.next(frame.failed)).fields[0]).toBe("-1");
  await container.start.untilClosed(2000);
});

test("a signal is sent to init, and one that kills is told as 128+n", async () => {
  await using container = await startMonitored({ folder, ops: containerOps({ root, words: ["sleep", "60"] }) });
  await container.go();
  container.start.send(frame.signal, ["0"]);
  expect((await container.start.next(frame.done)).fields).toEqual(["0"]);
  container.start.send(frame.signal, ["9"]);
  expect((await container.start.next(frame.exited)).fields.slice(0, 2)).toEqual(["137", "9"]);
  expect(readRecord(container.exitRecordPath)).toMatchObject({ "exit-code": "137", signal: "9" });
});

test("the OOM counter is read when the container has ended", async () => {
  const counter = join(folder, "memory.events");
  writeFileSync(counter, "low 0\noom 1\noom_kill 1\n");
  const settings = { "oom-control": counter };
  await using container = await startMonitored({ folder, settings, ops: containerOps({ root, words: ["true"] }) });
  await container.go();
  expect((await container.start.next(frame.exited)).fields[2]).toBe("1");
  expect(readRecord(container.exitRecordPath)["oom"]).toBe("1");
});

test("a monitor that is killed takes its container along", async () => {
  await using container = await startMonitored({ folder, ops: containerOps({ root, words: ["sleep", "60"] }) });
  const pid = await container.go();
  process.kill(parentOf(pid), "SIGKILL");
  await eventually("init is gone", () => !existsSync(`/proc/${pid}`) || stateOf(pid) === "Z");
});

test("orphans that come to the monitor are reaped", async () => {
  const ops = containerOps({ root, words: shell("(sleep 0.05 & ) ; exec sleep 60") }).map((one) =>
    one.name === "clone" ? op("monitor", "clone", ["mnt,uts,ipc,net"], "") : one,
  );
  await using container = await startMonitored({ folder, ops });
  const pid = await container.go();
  const monitor = parentOf(pid);
  const children = () => readFileSync(`/proc/${monitor}/task/${monitor}/children`, "utf8").trim().split(" ");
  await eventually("init is its only child", () => children().join() === String(pid));
  expect(stateOf(monitor)).not.toBe("Z");
});

test("a terminated monitor ends its container and keeps the record", async () => {
  await using container = await startMonitored({ folder, ops: containerOps({ root, words: ["sleep", "60"] }) });
  process.kill(parentOf(await container.go()), "SIGTERM");
  expect((await container.start.next(frame.exited)).fields[0]).toBe("137");
  expect(readRecord(container.exitRecordPath)["exit-code"]).toBe("137");
});

describe("a malformed plan is refused before its first op:", () => {
  const good = Buffer.from(
    encodePlan({
      settings: { id: "x", socket: join(folder, "bad") },
      ops: containerOps({ root: folder, words: ["true"] }),
    }),
  );
  const text = (...fields: string[]) => Buffer.from(fields.map((field) => `${field}\0`).join(""));
  const head = ["vitrine-plan", "1", "0"];
  const exec = ["child", "exec", "3", "a", "1", "a"];
  const clone = ["monitor", "clone", "1", ""];
  const cases: Record<string, Buffer> = {
    empty: Buffer.alloc(0),
    "cut in the middle of a field": good.subarray(0, good.length - 3),
    "cut between fields": good.subarray(0, good.subarray(0, good.length - 1).lastIndexOf(0) + 1),
    "fields left over": Buffer.concat([good, text("more")]),
    "another magic": text("vitrine-plam", "1", "0", "0"),
    "another version": text("vitrine-plan", "2", "0", "0"),
    "a count that is no number": text("vitrine-plan", "1", "x", "0"),
    "a negative count": text("vitrine-plan", "1", "0", "-1"),
    "more settings than there are": text("vitrine-plan", "1", "200", "a", "b"),
    "too many settings": text("vitrine-plan", "1", "100000"),
    "too many ops": text(...head, "4097"),
    "too many arguments": text(...head, "1", "monitor", "clone", "65537"),
    "a huge count": text(...head, "99999999999999999999999999"),
    "an unknown op": text(...head, "1", "monitor", "format-disk", "0"),
    "an unknown actor": text(...head, "1", "nobody", "clone", "1", ""),
    "too few arguments": text(...head, "2", "monitor", "clone", "0", ...exec),
    "no clone": text(...head, "1", ...exec),
    "two clones": text(...head, "3", ...clone, ...clone, ...exec),
    "a child's op before clone": text(...head, "3", "child", "umask", "1", "22", ...clone, ...exec),
    "exec in the middle": text(...head, "3", ...clone, ...exec, "child", "umask", "1", "22"),
    "no exec": text(...head, "1", ...clone),
    "an actor that may not": text(...head, "3", ...clone, "monitor", "user", "2", "0", "0", ...exec),
  };
  for (const [name, planBytes] of Object.entries(cases)) {
    test(name, async () => {
      await using container = await startMonitored({ folder, ops: [], planBytes });
      const failed = await container.start.next(frame.failed);
      expect(failed.fields[0]).toBe("-1");
      expect(failed.fields[2]).not.toBe("");
      await container.start.untilClosed(2000);
      expect(container.start.frames.some(({ type }) => type === frame.report)).toBe(false);
    });
  }
});

test("bytes that are no frames close only the connection they came on", async () => {
  await using container = await startMonitored({ folder, ops: containerOps({ root, words: ["sleep", "60"] }) });
  await container.go();
  for (const bytes of [
    Buffer.from([16, 0, 0, 0, 0, 1, 0, 1]),
    Buffer.from([23, 1, 0, 0, 0, 0, 0, 0]),
    Buffer.from([99, 0, 0, 0, 0, 0, 0, 0]),
  ]) {
    const client = await container.connect();
    client.sendRaw(bytes);
    await client.untilClosed();
  }
  const client = await container.connect();
  for (const [type, fields] of [
    [frame.attach, ["stdbogus"]],
    [frame.attach, []],
    [frame.resize, ["1"]],
    [frame.resize, ["24", "99999999"]],
    [frame.signal, ["-1"]],
    [frame.signal, ["9x"]],
    [frame.exec, ["tty", "1"]],
    [frame.go, []],
  ] as const) {
    const from = client.frames.length;
    client.send(type, fields);
    expect((await client.next(frame.done, { from })).fields[0]).not.toBe("0");
  }
  client.close();
  container.start.send(frame.signal, ["0"]);
  expect((await container.start.next(frame.done)).fields).toEqual(["0"]);
});

function parentOf(pid: number): number {
  return Number(/PPid:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
}

function stateOf(pid: number): string {
  return /State:\s+(\w)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? "";
}
