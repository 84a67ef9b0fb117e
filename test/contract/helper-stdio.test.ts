import { afterAll, beforeAll, expect, test } from "bun:test";
import { existsSync, readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { frame, type FrameConnection } from "../support/frames.ts";
import { sanitizedHelper } from "../support/helper-binary.ts";
import { containerOps, eventually, makeBusyboxRoot, startMonitored, type Monitored } from "../support/monitored.ts";
import { newScratch } from "../support/scratch.ts";

const scratch = newScratch();
const folder = scratch.path;
let root = "";
beforeAll(async () => {
  await sanitizedHelper();
  root = makeBusyboxRoot(folder);
}, 60_000);
afterAll(() => scratch[Symbol.asyncDispose]());

const shell = (script: string) => ["sh", "-c", script];

/** The text that a log's records stand for: `F` ends with a newline, `P` does not. */
function logText(path: string, stream: string): string {
  const records = readFileSync(path, "utf8").split("\n").slice(0, -1);
  return records
    .map((record) => {
      const parts = /^(\S+) (stdout|stderr) ([FP]) (.*)$/s.exec(record);
      if (!parts) throw new Error(`Not a record: ${record}`);
      expect(parts[1]).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$/);
      return parts[2] === stream ? `${parts[4]}${parts[3] === "F" ? "\n" : ""}` : "";
    })
    .join("");
}

async function ended(container: Monitored): Promise<void> {
  await container.start.next(frame.exited, { timeoutMs: 10_000 });
}

test("stdin reaches the process until its end; output comes back", async () => {
  const settings = { "open-stdin": "1" };
  await using container = await startMonitored({ folder, settings, ops: containerOps({ root, words: ["cat"] }) });
  await container.start.next(frame.ready);
  const client = await container.attach("stdin", "stdout");
  client.send(frame.stdin, Buffer.from("before the start\n"));
  await container.go();
  client.send(frame.stdin, Buffer.from("after it\n"));
  await client.until(() => client.text(frame.stdout).endsWith("after it\n"));
  client.send(frame.stdin);
  await ended(container);
  expect(client.text(frame.stdout)).toBe("before the start\nafter it\n");
});

test("more stdin than a pipe holds waits for its reader and arrives whole", async () => {
  const settings = { "open-stdin": "1" };
  const ops = containerOps({ root, words: shell("until test -e /tmp/read; do sleep 0.02; done; wc -c") });
  await using container = await startMonitored({ folder, settings, ops });
  await container.go();
  const client = await container.attach("stdin", "stdout");
  const piece = Buffer.alloc(60_000, "x");
  for (let sent = 0; sent < 20; sent++) client.send(frame.stdin, piece);
  client.send(frame.stdin);
  writeFileSync(join(root, "tmp/read"), "");
  await ended(container);
  expect(client.text(frame.stdout).trim()).toBe(String(20 * piece.length));
});

test("without open-stdin there is nothing to read, and stdin from clients is dropped", async () => {
  await using container = await startMonitored({ folder, ops: containerOps({ root, words: ["cat"] }) });
  await container.start.next(frame.ready);
  const client = await container.attach("stdin", "stdout");
  client.send(frame.stdin, Buffer.from("x\n"));
  await container.go();
  await ended(container);
  expect(client.text(frame.stdout)).toBe("");
});

test("with stdin-once, stdin ends when the client that had it leaves", async () => {
  const settings = { "open-stdin": "1", "stdin-once": "1" };
  await using container = await startMonitored({ folder, settings, ops: containerOps({ root, words: ["cat"] }) });
  await container.go();
  const watcher = await container.attach("stdout");
  watcher.close();
  const client = await container.attach("stdin", "stdout");
  client.send(frame.stdin, Buffer.from("last\n"));
  await client.next(frame.stdout);
  client.close();
  await ended(container);
  expect(logText(container.logPath, "stdout")).toBe("last\n");
});

test("two clients see the same, each from where it attached; the offsets say where that is in the log", async () => {
  const settings = { "open-stdin": "1" };
  await using container = await startMonitored({ folder, settings, ops: containerOps({ root, words: ["cat"] }) });
  await container.go();
  const first = await container.attach("stdin", "stdout");
  const logInode = String(statSync(container.logPath, { bigint: true }).ino);
  expect((await first.next(frame.attached)).fields).toEqual([logInode, "0"]);
  first.send(frame.stdin, Buffer.from("one\n"));
  await first.next(frame.stdout);
  const second = await container.attach("stdout");
  const [inode, offset] = (await second.next(frame.attached)).fields;
  expect(inode).toBe(logInode);
  expect(readFileSync(container.logPath).length).toBe(Number(offset));
  first.send(frame.stdin, Buffer.from("two\n"));
  await first.until(() => first.text(frame.stdout) === "one\ntwo\n");
  await second.until(() => second.text(frame.stdout) === "two\n");
});

test("the log holds whole lines as F and tails without newline as P, of both streams", async () => {
  const ops = containerOps({ root, words: shell("echo a; echo -n b; sleep 0.1; echo c >&2; echo d; echo -n e") });
  await using container = await startMonitored({ folder, ops });
  await container.go();
  await ended(container);
  expect(logText(container.logPath, "stdout")).toBe("a\nbd\ne");
  expect(logText(container.logPath, "stderr")).toBe("c\n");
  expect(readFileSync(container.logPath, "utf8")).toMatch(/ stdout P b\n/);
});

test("the log rotates at its size, keeps so many files, and loses no line between those", async () => {
  const settings = { "log-max-size": "4000", "log-max-files": "3" };
  const ops = containerOps({ root, words: ["seq", "1", "600"] });
  await using container = await startMonitored({ folder, settings, ops });
  await container.start.next(frame.ready);
  const client = await container.attach("stdout");
  await container.go();
  await ended(container);
  const files = [`${container.logPath}.2`, `${container.logPath}.1`, container.logPath];
  const numbers = files.flatMap((file) => logText(file, "stdout").trimEnd().split("\n").map(Number));
  expect(numbers.at(-1)).toBe(600);
  expect(numbers).toEqual(numbers.map((_, at) => 600 - numbers.length + 1 + at));
  for (const file of files) expect(readFileSync(file).length).toBeLessThanOrEqual(4000);
  expect(existsSync(`${container.logPath}.3`)).toBe(false);
  expect(client.text(frame.stdout)).toBe(Array.from({ length: 600 }, (_, at) => `${at + 1}\n`).join(""));
});

test("a restarted container's log goes on where it was", async () => {
  const ops = containerOps({ root, words: ["echo", "new"] });
  const logPath = join(folder, "kept.log");
  const old = "2024-01-01T00:00:00.000000000Z stdout F old\n";
  writeFileSync(logPath, old);
  await using container = await startMonitored({ folder, ops, log: false, settings: { "log-path": logPath } });
  expect((await container.start.next(frame.hello)).fields[5]).toBe(String(old.length));
  await container.go();
  await ended(container);
  expect(logText(logPath, "stdout")).toBe("old\nnew\n");
});

const plenty = 3_000_000;

test("a slow client is told where in the log to go on, loses nothing, and does not slow the container", async () => {
  const ops = containerOps({ root, words: shell(`yes 0123456789abcdef | head -c ${plenty}`) });
  await using container = await startMonitored({ folder, ops });
  await container.start.next(frame.ready);
  const client = await container.attach("stdout");
  client.pause();
  await container.go();
  await ended(container);
  client.resume();
  const [inode, offset] = (await client.next(frame.lagging)).fields;
  expect(inode).toBe(String(statSync(container.logPath, { bigint: true }).ino));
  const live = client.text(frame.stdout);
  expect(live.length).toBeLessThan(plenty);
  const whole = logText(container.logPath, "stdout");
  expect(whole.length).toBe(plenty);
  writeFileSync(join(folder, "rest"), readFileSync(container.logPath).subarray(Number(offset)));
  expect(live + logText(join(folder, "rest"), "stdout")).toBe(whole);
});

test("the file that a slow client was sent to keeps its inode number to itself, rotated away, until that client leaves", async () => {
  const settings = { "log-max-size": "50000", "log-max-files": "2" };
  const ops = containerOps({
    root,
    words: shell(`yes 0123456789abcdef | head -c ${plenty}; touch /tmp/printed; sleep 60`),
  });
  await using container = await startMonitored({ folder, settings, ops });
  await container.start.next(frame.ready);
  const client = await container.attach("stdout");
  client.pause();
  const pid = await container.go();
  await eventually("all to be printed", () => existsSync(join(root, "tmp/printed")));
  client.resume();
  const inode = BigInt((await client.next(frame.lagging)).fields[0] ?? "");
  const monitor = /PPid:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  const holds = (): boolean =>
    readdirSync(`/proc/${monitor}/fd`).some((number) => {
      const about = statSync(`/proc/${monitor}/fd/${number}`, { bigint: true, throwIfNoEntry: false });
      return about?.ino === inode && about.nlink === 0n;
    });
  expect(holds()).toBe(true);
  client.close();
  await eventually("the file to be let go", () => !holds());
});

test("without a log the container waits for a slow client, which gets every byte", async () => {
  const ops = containerOps({ root, words: shell(`yes 0123456789abcdef | head -c ${plenty}; touch /tmp/written`) });
  await using container = await startMonitored({ folder, ops, log: false });
  await container.start.next(frame.ready);
  const client = await container.attach("stdout");
  client.pause();
  await container.go();
  await Bun.sleep(100);
  expect(existsSync(join(root, "tmp/written"))).toBe(false);
  client.resume();
  await ended(container);
  await client.untilClosed();
  expect(client.bytes(frame.stdout).length).toBe(plenty);
  expect(client.frames.some(({ type }) => type === frame.lagging)).toBe(false);
});

test("without a log a client that vanishes holds nobody up", async () => {
  const ops = containerOps({ root, words: shell(`yes | head -c ${plenty}`) });
  await using container = await startMonitored({ folder, ops, log: false });
  await container.start.next(frame.ready);
  const client = await container.attach("stdout");
  client.pause();
  await container.go();
  client.close();
  await ended(container);
});

test("what is left in the pipe when the process ends still comes, before `exited` does", async () => {
  const ops = containerOps({ root, words: shell("head -c 60000 /dev/zero") });
  await using container = await startMonitored({ folder, ops, log: false });
  await container.start.next(frame.ready);
  container.start.send(frame.attach, ["stdout"]);
  await container.start.next(frame.attached);
  await container.go();
  await ended(container);
  expect(container.start.bytes(frame.stdout).length).toBe(60_000);
  expect(container.start.frames.at(-1)?.type).toBe(frame.exited);
});

async function terminal(words: string[]): Promise<Monitored> {
  const settings = { tty: "1", "open-stdin": "1" };
  return startMonitored({ folder, settings, ops: containerOps({ root, words, terminal: true }) });
}

async function said(client: FrameConnection, words: string): Promise<void> {
  await client.until(() => client.text(frame.stdout).includes(words));
}

test("a terminal is the container's own, controls its session, echoes, and has the size it was given", async () => {
  await using container = await terminal(["sh"]);
  await container.start.next(frame.ready);
  container.start.send(frame.resize, ["33", "101"]);
  expect((await container.start.next(frame.done)).fields).toEqual(["0"]);
  const client = await container.attach("stdin", "stdout");
  const pid = await container.go();
  client.send(frame.stdin, Buffer.from("stty size; tty; ls /proc/self/fd | wc -l\n"));
  await said(client, "33 101\r\n/dev/pts/0\r\n");
  client.send(frame.resize, ["40", "120"]);
  await client.next(frame.done);
  client.send(frame.stdin, Buffer.from("stty size\n"));
  await said(client, "40 120\r\n");
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  expect(stat[3]).toBe(String(pid));
  expect(Number(stat[4])).not.toBe(0);
  client.send(frame.stdin, Buffer.from("exit 4\n"));
  expect((await container.start.next(frame.exited)).fields[0]).toBe("4");
  expect(logText(container.logPath, "stdout")).toContain("40 120\r\n");
});

/** Whether the shell's child runs that program, and the terminal's keys go to its process group (proc_pid_stat(5)). */
function hasForeground(shellPid: number, program: string): boolean {
  const child = readFileSync(`/proc/${shellPid}/task/${shellPid}/children`, "utf8").trim();
  if (child === "" || readFileSync(`/proc/${child}/comm`, "utf8").trim() !== program) return false;
  const [, , group, , , foreground] = readFileSync(`/proc/${child}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return group === foreground;
}

test("Ctrl-C on the terminal reaches the foreground process, and Ctrl-D ends its input", async () => {
  await using container = await terminal(["sh"]);
  const pid = await container.go();
  const client = await container.attach("stdin", "stdout");
  client.send(frame.stdin, Buffer.from("sleep 60; echo came back\n"));
  await eventually("sleep runs in the foreground", () => hasForeground(pid, "sleep"));
  client.send(frame.stdin, Buffer.from([3]));
  client.send(frame.stdin, Buffer.from("echo alive\n"));
  await said(client, "\nalive");
  client.send(frame.stdin, Buffer.from([4]));
  await ended(container);
});

test("the size of what is no terminal cannot be changed", async () => {
  await using container = await startMonitored({ folder, ops: containerOps({ root, words: ["sleep", "60"] }) });
  await container.go();
  container.start.send(frame.resize, ["24", "80"]);
  expect((await container.start.next(frame.done)).fields).toEqual(["25"]);
});

test("a ptmx that the image brought is refused: only a devpts gives terminals", async () => {
  const ops = containerOps({ root, words: ["sh"], terminal: true }).filter(
    ({ arguments: [type] }) => type !== "devpts",
  );
  await using container = await startMonitored({ folder, settings: { tty: "1" }, ops });
  const failed = await container.start.next(frame.failed);
  expect(failed.fields.slice(1)).toEqual(["19", 'open "/dev/pts/ptmx"']);
});

test("an idle monitor holds few descriptors", async () => {
  await using container = await startMonitored({ folder, ops: containerOps({ root, words: ["sleep", "60"] }) });
  const pid = await container.go();
  const monitor = /PPid:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  expect(readdirSync(`/proc/${monitor}/fd`).length).toBeLessThanOrEqual(14);
});
