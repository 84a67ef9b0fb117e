import { LogNames, openFollowing, openLogFiles } from "./log-files.ts";
import { type LogRecord, nextLineEnd, parseLogLine, timeNs } from "./log-line.ts";
import { type LogPart, readExactly, skipToLastLines } from "./log-tail.ts";
import type { LogPosition } from "./output-queue.ts";

export interface ReadLogOptions {
  /** Read on from here; default: the oldest record there is. When that file was rotated away, the oldest that is left is next. */
  readonly from?: LogPosition;
  /** Default: both. */
  readonly stdout?: boolean;
  readonly stderr?: boolean;
  /** Only the last lines, of both streams together, as Docker counts them. */
  readonly tail?: number;
  /** Unix seconds, fractions allowed: records not before, and not after. */
  readonly since?: number;
  readonly until?: number;
}

const readBlockBytes = 256 * 1024;
/** The helper cuts lines into pieces far below this. */
const maxLineBytes = 4 * 1024 * 1024;

/**
 * Reads a container's log in the CRI format as it is now, rotated files included, oldest record first. `tail` reads backwards from the
 * end and never the whole. A line that is being written just now is left for the next reader; lines that are no records are passed over.
 */
export async function* readLog(path: string, options: ReadLogOptions = {}): AsyncGenerator<LogRecord> {
  using reader = new LogReader(new LogNames(path), options);
  yield* reader.kept();
}

/**
 * A place in a log that stays right while the log is written and rotated: it holds the file it is in, and goes on with the next younger
 * one. Make it, read `kept` or `rest`, one at a time, and dispose of it.
 */
export class LogReader implements Disposable {
  readonly #names: LogNames;
  readonly #verdict: (record: LogRecord) => "yes" | "no" | "end";
  /** What is still to be read, oldest first; the last one stays. */
  #parts: LogPart[];
  #isOver = false;

  constructor(names: LogNames, options: ReadLogOptions = {}) {
    this.#names = names;
    this.#verdict = acceptor(options);
    this.#parts = openLogFiles(names).map((file) => ({ file, at: 0, end: file.sizeBytes }));
    const { from, tail } = options;
    const first = from ? this.#parts.find(({ file }) => file.inode === from.inode) : undefined;
    if (first && from) {
      first.at = from.offset;
      while (this.#parts[0] !== first) this.#dropFirst();
    }
    if (tail !== undefined) skipToLastLines(this.#parts, tail);
  }

  /** Whether a record after `until` was met: no more will come. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** What the log held when this reader was made. Files that are rotated away meanwhile are read all the same. */
  async *kept(): AsyncGenerator<LogRecord> {
    for (;;) {
      const [part] = this.#parts;
      if (part) yield* this.#records(part);
      if (this.#parts.length <= 1) return;
      this.#dropFirst();
    }
  }

  /** All that is there by now and was not read yet, through all rotations since. May be asked again, when there may be more. */
  async *rest(): AsyncGenerator<LogRecord> {
    for (;;) {
      yield* this.kept();
      const [part] = this.#parts;
      if (part) yield* this.#written(part);
      if (this.#isOver || (part && this.#names.inode(0) === part.file.inode)) return;
      // What has been renamed is no longer written to: now it is whole.
      if (part) yield* this.#written(part);
      const files = part ? openFollowing(this.#names, part.file) : openLogFiles(this.#names);
      if (files.length === 0) return;
      this.#dropFirst();
      this.#parts = files.map((file) => ({ file, at: 0, end: file.sizeBytes }));
    }
  }

  [Symbol.dispose](): void {
    while (this.#parts.length > 0) this.#dropFirst();
  }

  #dropFirst(): void {
    this.#parts.shift()?.file[Symbol.dispose]();
  }

  #written(part: LogPart): AsyncGenerator<LogRecord> {
    part.end = part.file.sizeBytes;
    return this.#records(part);
  }

  async *#records(part: LogPart): AsyncGenerator<LogRecord> {
    for (let block = takeBlock(part); block && !this.#isOver; block = takeBlock(part)) {
      for (const record of block) {
        const verdict = this.#verdict(record);
        this.#isOver = verdict === "end";
        if (this.#isOver) return;
        if (verdict === "yes") yield record;
      }
      // Between blocks others have their turn.
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

function acceptor(options: ReadLogOptions): (record: LogRecord) => "yes" | "no" | "end" {
  const { stdout = true, stderr = true, since, until } = options;
  const first = since === undefined ? undefined : secondsToNs(since);
  const last = until === undefined ? undefined : secondsToNs(until);
  return (record) => {
    if (first !== undefined || last !== undefined) {
      const time = timeNs(record.time);
      if (time !== undefined && first !== undefined && time < first) return "no";
      if (time !== undefined && last !== undefined && time > last) return "end";
    }
    return (record.stream === "stdout" ? stdout : stderr) ? "yes" : "no";
  };
}

/** Milliseconds are as much as a JavaScript number of today's seconds holds exactly; the rest is rounded to a microsecond. */
function secondsToNs(seconds: number): bigint {
  return BigInt(Math.round(seconds * 1e6)) * 1000n;
}

/** The next records of one file; undefined when there is no whole one. */
function takeBlock(part: LogPart): LogRecord[] | undefined {
  for (let size = readBlockBytes; part.at < part.end; size *= 2) {
    const bytes = readExactly(part.file.descriptor, { start: part.at, end: Math.min(part.end, part.at + size) });
    const records: LogRecord[] = [];
    let start = 0;
    for (let end = nextLineEnd(bytes, 0); end >= 0; end = nextLineEnd(bytes, start)) {
      const record = parseLogLine(bytes, { start, end });
      if (record) records.push(record);
      start = end + 1;
    }
    part.at += start;
    if (start > 0) return records;
    if (bytes.length < size || size >= maxLineBytes) return undefined;
  }
  return undefined;
}
