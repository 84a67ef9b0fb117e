import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readExitRecord, readLog, type ReadLogOptions } from "../../src/runtime/index.ts";
import { newScratch, type Scratch } from "../support/scratch.ts";

let scratch: Scratch;
let count = 0;

beforeAll(() => {
  scratch = newScratch();
});
afterAll(() => scratch[Symbol.asyncDispose]());

const time = (second: number) => `2024-05-06T07:08:${String(second).padStart(2, "0")}.123456789Z`;
const line = (second: number, text: string, { stream = "stdout", tag = "F" } = {}) =>
  `${time(second)} ${stream} ${tag} ${text}\n`;

function newLog(...files: string[]): string {
  const path = join(scratch.path, `log${count++}`);
  files.forEach((text, age) => writeFileSync(age === 0 ? path : `${path}.${age}`, text));
  return path;
}

async function texts(path: string, options: ReadLogOptions = {}): Promise<string[]> {
  const found: string[] = [];
  for await (const { data } of readLog(path, options)) found.push(Buffer.from(data).toString());
  return found;
}

describe("a container's log", () => {
  test("gives lines with their newline, pieces without, each with its stream and time", async () => {
    const path = newLog(
      line(1, "one") +
        line(2, "tw", { tag: "P" }) +
        line(2, "o") +
        line(3, "", { stream: "stderr" }) +
        line(4, "no end", { tag: "P" }),
    );
    const records = [];
    for await (const record of readLog(path)) records.push({ ...record, data: Buffer.from(record.data).toString() });
    expect(records).toEqual([
      { stream: "stdout", time: time(1), data: "one\n", partial: false },
      { stream: "stdout", time: time(2), data: "tw", partial: true },
      { stream: "stdout", time: time(2), data: "o\n", partial: false },
      { stream: "stderr", time: time(3), data: "\n", partial: false },
      { stream: "stdout", time: time(4), data: "no end", partial: true },
    ]);
  });
  test("keeps bytes that are no text, and passes over lines that are no records and one that is being written", async () => {
    const path = newLog("");
    const bytes = Buffer.concat([
      Buffer.from(`${time(1)} stdout F `),
      Buffer.from([0xff, 0x00, 0x80]),
      Buffer.from("\n"),
    ]);
    writeFileSync(
      path,
      Buffer.concat([Buffer.from("torn by a power cut\n\n"), bytes, Buffer.from(`${time(2)} stdout F half`)]),
    );
    const found = [];
    for await (const { data } of readLog(path)) found.push([...data]);
    expect(found).toEqual([[0xff, 0x00, 0x80, 0x0a]]);
  });
  test("reads rotated files, oldest first; a missing log is empty", async () => {
    expect(await texts(newLog(line(3, "c"), line(2, "b"), line(1, "a")))).toEqual(["a\n", "b\n", "c\n"]);
    expect(await texts(join(scratch.path, "none"))).toEqual([]);
  });
  test("--tail counts whole lines back over pieces, blocks and files, and 0 is none", async () => {
    const path = newLog(
      line(4, "d") + line(5, "e1", { tag: "P" }) + line(5, "e2"),
      line(1, "a") + line(2, "b") + line(3, "c"),
    );
    expect(await texts(path, { tail: 2 })).toEqual(["d\n", "e1", "e2\n"]);
    expect(await texts(path, { tail: 3 })).toEqual(["c\n", "d\n", "e1", "e2\n"]);
    expect(await texts(path, { tail: 99 })).toHaveLength(6);
    expect(await texts(path, { tail: 0 })).toEqual([]);
    const long = newLog(
      Array.from({ length: 9000 }, (_, index) => line(1, `${index} ${"x".repeat(index % 90)}`)).join(""),
    );
    for (const tail of [1, 17, 1000, 8999, 9000]) {
      const found = await texts(long, { tail });
      expect(found).toHaveLength(tail);
      expect(found[0]?.split(" ")[0]).toBe(String(9000 - tail));
    }
  });
  test("--since and --until are inclusive to the microsecond; streams are chosen", async () => {
    const path = newLog(line(1, "a") + line(2, "b", { stream: "stderr" }) + line(3, "c"));
    const second = Date.parse(time(2).replace("456789", "")) / 1000;
    expect(await texts(path, { since: second })).toEqual(["b\n", "c\n"]);
    expect(await texts(path, { until: second + 0.001 })).toEqual(["a\n", "b\n"]);
    expect(await texts(path, { stdout: false })).toEqual(["b\n"]);
  });
  test("goes on from a position, in whichever file it is by now, and from the oldest when that file is gone", async () => {
    const path = newLog(line(4, "d"), line(2, "b") + line(3, "c"), line(1, "a"));
    const { ino: inode } = statSync(`${path}.1`, { bigint: true });
    expect(await texts(path, { from: { inode, offset: line(2, "b").length } })).toEqual(["c\n", "d\n"]);
    expect(await texts(path, { from: { inode: 1n, offset: 5 } })).toEqual(["a\n", "b\n", "c\n", "d\n"]);
  });
});

describe("an exit record", () => {
  test("is read whole, and one that is missing or torn does not count", () => {
    const path = join(scratch.path, "exit");
    expect(readExitRecord(path)).toBeUndefined();
    writeFileSync(path, `exit-code 137\nsignal 9\noom 1\nfinished-at ${time(1)}\npid 42\nstart-time 99\n`);
    expect(readExitRecord(path)).toEqual({
      exitCode: 137,
      signal: 9,
      oomKilled: true,
      finishedAt: time(1),
      pid: 42,
      startTime: 99,
    });
    writeFileSync(path, "exit-code 1");
    expect(readExitRecord(path)).toBeUndefined();
  });
});
