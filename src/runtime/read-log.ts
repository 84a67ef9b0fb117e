import { closeSync } from "node:fs";
import { type LogPart, type LogRange, keepLastLines, openLogParts, readExactly } from "./log-files.ts";
import { type LogRecord, nextLineEnd, parseLogLine, timeNs } from "./log-line.ts";

export interface ReadLogOptions extends LogRange {
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
 * Reads a container's log in the CRI format, rotated files included, oldest record first. `tail` reads backwards from the end and never
 * the whole. A line that is being written just now is left for the next reader; lines that are no records are passed over.
 */
export async function* readLog(path: string, options: ReadLogOptions = {}): AsyncGenerator<LogRecord> {
  const all = openLogParts(path, options);
  try {
    const wanted = options.tail === undefined ? all : keepLastLines(all, options.tail);
    const accepts = acceptor(options);
    for (const part of wanted) {
      for (const block of blocks(part)) {
        for (const record of block) {
          const verdict = accepts(record);
          if (verdict === "end") return;
          if (verdict === "yes") yield record;
        }
        // Between blocks others have their turn.
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
  } finally {
    for (const { descriptor } of all) closeSync(descriptor);
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

/** The records of one file, block by block. */
function* blocks(part: LogPart): Generator<LogRecord[]> {
  let at = part.start;
  let size = readBlockBytes;
  while (at < part.end) {
    const bytes = readExactly(part.descriptor, { start: at, end: Math.min(part.end, at + size) });
    const records: LogRecord[] = [];
    let start = 0;
    for (let end = nextLineEnd(bytes, 0); end >= 0; end = nextLineEnd(bytes, start)) {
      const record = parseLogLine(bytes, { start, end });
      if (record) records.push(record);
      start = end + 1;
    }
    if (start === 0) {
      if (bytes.length === 0 || at + size >= part.end || size >= maxLineBytes) return;
      size *= 2;
      continue;
    }
    yield records;
    at += start;
    size = readBlockBytes;
  }
}
