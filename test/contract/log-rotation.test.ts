// A log that is renamed between any two looks that its reader takes: each line comes once and in order.
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  appendFileSync,
  closeSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { LogNames, LogReader, type LogRecord, type ReadLogOptions } from "../../src/runtime/index.ts";
import { newScratch, type Scratch } from "../support/scratch.ts";

setDefaultTimeout(60_000);

let scratch: Scratch;
let count = 0;

beforeAll(() => {
  scratch = newScratch();
});
afterAll(() => scratch[Symbol.asyncDispose]());

/** What the monitor does to its log (`rotate` of helper/log.c), to be done one system call at a time. */
class Writer implements Disposable {
  readonly path = join(scratch.path, `log${count++}`);
  readonly #steps: Generator<void>;
  /** The number of the last line that is in the log. */
  last = 0;
  isDone = false;

  constructor(script: { files: number; rotations: number; linesEach: number }) {
    this.#steps = this.#write(script);
    this.step();
  }

  step(times = 1): void {
    for (let time = 0; time < times && !this.isDone; time++) this.isDone = this.#steps.next().done ?? false;
  }

  *#write({ files, rotations, linesEach }: { files: number; rotations: number; linesEach: number }): Generator<void> {
    for (let rotation = 0; ; rotation++) {
      closeSync(openSync(this.path, "a"));
      yield;
      for (let index = 0; index < linesEach; index++) {
        const line = lineOf(this.last + 1);
        // A record may be there in part.
        appendFileSync(this.path, line.slice(0, 20));
        yield;
        appendFileSync(this.path, line.slice(20));
        this.last++;
        yield;
      }
      if (rotation === rotations) return;
      for (let age = files - 1; age >= 1; age--) {
        rename(this.#name(age - 1), this.#name(age));
        yield;
      }
      if (files === 1) unlinkSync(this.path);
      yield;
    }
  }

  /** Thousands of files at the end of a suite take their time. */
  [Symbol.dispose](): void {
    for (let age = 0; age < 9; age++) rmSync(this.#name(age), { force: true });
  }

  #name(age: number): string {
    return age === 0 ? this.path : `${this.path}.${age}`;
  }

  /** The lines of all files that are left. */
  left(files: number): number[] {
    const texts = Array.from({ length: files }, (_, age) => {
      try {
        return readFileSync(this.#name(files - 1 - age), "utf8");
      } catch {
        return "";
      }
    });
    return [...texts.join("").matchAll(/ F (\d+)\n/g)].map(([, number]) => Number(number));
  }
}

function rename(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}

const lineOf = (number: number): string => `2024-05-06T07:08:09.123456789Z stdout F ${number}\n`;
const upTo = (last: number): number[] => Array.from({ length: last }, (_, index) => index + 1);

/** The names of a log, to which something happens before some of the looks. */
class DisturbedNames extends LogNames {
  looks = 0;

  constructor(
    path: string,
    private readonly before: (look: number) => void,
  ) {
    super(path);
  }

  override open(age: number): ReturnType<LogNames["open"]> {
    this.before(this.looks++);
    return super.open(age);
  }

  override inode(age: number): bigint | undefined {
    this.before(this.looks++);
    return super.inode(age);
  }
}

/** Follows a log while its writer does `steps` before the looks that are `chosen`, and the rest once the reader has nothing to do. */
async function follow(
  writer: Writer,
  disturb: { steps: number; chosen: (look: number) => boolean },
  options: ReadLogOptions = {},
): Promise<{ numbers: number[]; looks: number }> {
  const names = new DisturbedNames(writer.path, (look) => {
    if (disturb.chosen(look)) writer.step(disturb.steps);
  });
  using reader = new LogReader(names, options);
  const numbers: number[] = [];
  const take = async (records: AsyncIterable<LogRecord>): Promise<void> => {
    for await (const { data } of records) numbers.push(Number(Buffer.from(data).toString()));
  };
  while (!writer.isDone) {
    await take(reader.rest());
    // As the monitor's wake-up: after every few steps of it.
    writer.step(3);
  }
  await take(reader.rest());
  return { numbers, looks: names.looks };
}

const roomy = { files: 9, rotations: 6, linesEach: 2 };

describe("a reader that follows a log", () => {
  test("sees each line once, however many steps of rotations come between its looks", async () => {
    for (let steps = 1; steps <= 32; steps++) {
      for (const every of [1, 2, 5]) {
        using writer = new Writer(roomy);
        const { numbers } = await follow(writer, { steps, chosen: (look) => look % every === 0 });
        expect({ steps, every, numbers }).toEqual({ steps, every, numbers: upTo(14) });
      }
    }
  });
  test("sees each line once when two rotations come between any one look and the next", async () => {
    using calm = new Writer(roomy);
    const { looks } = await follow(calm, { steps: 0, chosen: () => false });
    for (let at = 0; at < looks; at++) {
      for (const steps of [9, 20]) {
        using writer = new Writer(roomy);
        const { numbers } = await follow(writer, { steps, chosen: (look) => look === at });
        expect({ at, steps, numbers }).toEqual({ at, steps, numbers: upTo(14) });
      }
    }
  });
  test("goes on with the oldest that is left when its file was rotated away, and repeats nothing", async () => {
    for (const files of [1, 2, 3]) {
      for (let steps = 1; steps <= 60; steps += 5) {
        for (const every of [1, 3, 7]) {
          using writer = new Writer({ files, rotations: 9, linesEach: 2 });
          const { numbers } = await follow(writer, { steps, chosen: (look) => look % every === 0 });
          const sorted = [...new Set(numbers)].sort((a, b) => a - b);
          expect({ files, steps, every, numbers }).toEqual({ files, steps, every, numbers: sorted });
          const left = writer.left(files);
          expect(numbers.slice(-left.length)).toEqual(left);
        }
      }
    }
  });
  test("goes on from a position that was told before the rotations", async () => {
    for (let steps = 1; steps <= 30; steps++) {
      using writer = new Writer(roomy);
      writer.step(30);
      const inode = new LogNames(writer.path).inode(0) ?? 0n;
      const from = { inode, offset: readFileSync(writer.path).lastIndexOf("\n") + 1 };
      const first = writer.last + 1;
      const { numbers } = await follow(writer, { steps, chosen: () => true }, { from });
      expect({ steps, numbers }).toEqual({ steps, numbers: upTo(14).slice(first - 1) });
    }
  });
  test("takes up a log that is made later, and leaves gaps that a rotation cut short or a hand made", async () => {
    const path = join(scratch.path, "later");
    using reader = new LogReader(new LogNames(path));
    const take = async (): Promise<number[]> => {
      const numbers: number[] = [];
      for await (const { data } of reader.rest()) numbers.push(Number(Buffer.from(data).toString()));
      return numbers;
    };
    expect(await take()).toEqual([]);
    writeFileSync(path, lineOf(1));
    expect(await take()).toEqual([1]);
    appendFileSync(path, lineOf(2));
    renameSync(path, `${path}.3`);
    expect(await take()).toEqual([2]);
    writeFileSync(`${path}.1`, lineOf(3));
    writeFileSync(path, lineOf(4));
    expect(await take()).toEqual([3, 4]);
  });
});

describe("a reader that does not follow", () => {
  test("sees a beginning or an end of no line, and nothing twice, while the log is renamed", async () => {
    for (let steps = 1; steps <= 40; steps++) {
      for (let before = 0; before <= 60; before += 20) {
        using writer = new Writer(roomy);
        writer.step(before);
        const had = writer.last;
        const names = new DisturbedNames(writer.path, () => writer.step(steps));
        using reader = new LogReader(names);
        const numbers: number[] = [];
        for await (const { data } of reader.kept()) numbers.push(Number(Buffer.from(data).toString()));
        expect({ steps, before, numbers }).toEqual({ steps, before, numbers: upTo(numbers.length) });
        expect(numbers.length).toBeGreaterThanOrEqual(had);
      }
    }
  });
});
