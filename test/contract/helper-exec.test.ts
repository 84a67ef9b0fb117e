import { afterAll, beforeAll, beforeEach, afterEach, expect, test } from "bun:test";
import { readFileSync, readdirSync, readlinkSync } from "node:fs";
import { op } from "../../src/spec/index.ts";
import { frame } from "../support/frames.ts";
import { sanitizedHelper } from "../support/helper-binary.ts";
import {
  containerOps,
  eventually,
  makeBusyboxRoot,
  sessionOps,
  startMonitored,
  type Monitored,
} from "../support/monitored.ts";
import { newScratch } from "../support/scratch.ts";

const scratch = newScratch();
const folder = scratch.path;
let root = "";
let container: Monitored;
let pid = 0;

beforeAll(async () => {
  await sanitizedHelper();
  root = makeBusyboxRoot(folder);
}, 60_000);
beforeEach(async () => {
  container = await startMonitored({ folder, ops: containerOps({ root, words: ["sleep", "60"] }) });
  pid = await container.go();
});
afterEach(() => container[Symbol.asyncDispose]());
afterAll(() => scratch[Symbol.asyncDispose]());

const shell = (script: string) => ["sh", "-c", script];
const monitorOf = (child: number) => Number(/PPid:\s+(\d+)/.exec(readFileSync(`/proc/${child}/status`, "utf8"))?.[1]);

test("a session runs in the namespaces of init, and its output, error and exit code come back", async () => {
  const session = await container.exec(sessionOps(shell("hostname; ps | wc -l; echo no >&2; exit 5")));
  await session.untilClosed();
  expect(session.text(frame.stdout)).toMatch(/^walled\n/);
  expect(session.text(frame.stderr)).toBe("no\n");
  expect(session.frames.at(-1)?.fields.slice(0, 2)).toEqual(["5", "0"]);
  expect(readFileSync(container.logPath, "utf8")).toBe("");
});

test("a session's process is the monitor's child, has init's namespaces and three descriptors", async () => {
  const session = await container.exec(sessionOps(["sleep", "60"], { environment: ["PATH=/bin", "X=1"] }));
  const started = await session.next(frame.started);
  const process = Number(started.fields[0]);
  const stat = readFileSync(`/proc/${process}/stat`, "utf8");
  expect(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]).toBe(started.fields[1] ?? "");
  expect(monitorOf(process)).toBe(monitorOf(pid));
  for (const name of ["mnt", "pid", "uts", "ipc", "net"]) {
    expect(readlinkSync(`/proc/${process}/ns/${name}`)).toBe(readlinkSync(`/proc/${pid}/ns/${name}`));
  }
  expect(readdirSync(`/proc/${process}/fd`).toSorted()).toEqual(["0", "1", "2"]);
  expect(readFileSync(`/proc/${process}/environ`, "utf8")).toBe("PATH=/bin\0X=1\0");
  const reports = session.frames.filter(({ type }) => type === frame.report).flatMap(({ fields }) => fields);
  expect(reports.length / 4).toBe(sessionOps(["sleep", "60"]).length);
});

test("stdin reaches a session and its end ends it", async () => {
  const session = await container.exec(sessionOps(["cat"]), { "open-stdin": "1" });
  await session.next(frame.started);
  session.send(frame.stdin, Buffer.from("hello\n"));
  await session.next(frame.stdout);
  session.send(frame.stdin);
  await session.untilClosed();
  expect(session.text(frame.stdout)).toBe("hello\n");
  expect(session.frames.at(-1)?.fields[0]).toBe("0");
});

test("a session with a terminal has its own, with its own size", async () => {
  const settings = { tty: "1", "open-stdin": "1" };
  const session = await container.exec(sessionOps(["sh"], { terminal: true }), settings);
  await session.next(frame.started);
  session.send(frame.resize, ["20", "70"]);
  expect((await session.next(frame.done)).fields).toEqual(["0"]);
  session.send(frame.stdin, Buffer.from("stty size; tty\n"));
  await session.until(() => session.text(frame.stdout).includes("20 70\r\n/dev/pts/0\r\n"));
  session.send(frame.stdin, Buffer.from("exit 9\n"));
  await session.untilClosed();
  expect(session.frames.at(-1)?.fields[0]).toBe("9");
});

test("a session that a signal ended says which", async () => {
  const session = await container.exec(sessionOps(shell("kill -9 $$")));
  await session.untilClosed();
  expect(session.frames.at(-1)).toMatchObject({ type: frame.exited, fields: ["137", "9", "0", expect.any(String)] });
});

test("very short sessions are never lost, even many at once", async () => {
  const sessions = await Promise.all(Array.from({ length: 12 }, () => container.exec(sessionOps(shell("exit 3")))));
  await Promise.all(sessions.map((session) => session.untilClosed(20_000)));
  expect(sessions.map((session) => session.frames.at(-1)?.fields[0])).toEqual(Array(12).fill("3"));
  await eventually("no process of a session is left", () => {
    const monitor = monitorOf(pid);
    return readFileSync(`/proc/${monitor}/task/${monitor}/children`, "utf8").trim() === String(pid);
  });
});

test("a session whose program is not there fails with the op and its errno", async () => {
  const ops = sessionOps(["no-such-program"]);
  const session = await container.exec(ops);
  const failed = await session.next(frame.failed);
  expect(failed.fields).toEqual([String(ops.length - 1), "2", 'not found in PATH: "no-such-program"']);
  await session.untilClosed();
});

test("a session whose setns fails says so", async () => {
  const ops = [op("monitor", "setns", ["net", "/proc/self/ns/uts"], ""), ...sessionOps(["true"])];
  const session = await container.exec(ops);
  expect((await session.next(frame.failed)).fields.slice(0, 2)).toEqual(["0", "22"]);
});

test("a malformed plan of a session is refused", async () => {
  const session = await container.exec([op("child", "umask", ["22"], "")]);
  expect((await session.next(frame.failed)).fields[0]).toBe("-1");
  await session.untilClosed();
});

test("when a session's client goes, the session goes on", async () => {
  const session = await container.exec(sessionOps(["sleep", "60"]));
  const process = Number((await session.next(frame.started)).fields[0]);
  session.close();
  container.start.send(frame.signal, ["0"]);
  await container.start.next(frame.done);
  expect(readFileSync(`/proc/${process}/comm`, "utf8")).toBe("sleep\n");
});

test("a slow reader of a session stops the session, and loses nothing", async () => {
  const session = await container.exec(sessionOps(shell("yes 0123456789abcdef | head -c 2000000")));
  session.pause();
  await Bun.sleep(50);
  session.resume();
  await session.untilClosed();
  expect(session.bytes(frame.stdout).length).toBe(2_000_000);
});

test("sessions end with the container, each with its exit", async () => {
  const session = await container.exec(sessionOps(["sleep", "60"]));
  await session.next(frame.started);
  container.start.send(frame.signal, ["9"]);
  await container.start.next(frame.exited);
  await session.untilClosed();
  expect(session.frames.at(-1)).toMatchObject({ type: frame.exited, fields: ["137", "9", "0", expect.any(String)] });
});

test("no session starts before the container has", async () => {
  await using waiting = await startMonitored({ folder, ops: containerOps({ root, words: ["true"] }) });
  await waiting.start.next(frame.ready);
  const session = await waiting.exec(sessionOps(["true"]));
  expect((await session.next(frame.done)).fields).toEqual(["3"]);
  session.close();
});
