import { readSync } from "node:fs";
import type { LogFile } from "./log-files.ts";
import { isWholeLine } from "./log-line.ts";

/** A file of a log and what is to be read of it. */
export interface LogPart {
  readonly file: LogFile;
  /** Where the next record begins. */
  at: number;
  end: number;
}

const tailBlockBytes = 64 * 1024;
const newline = 0x0a;

/** Leaves of the parts (oldest first) only the last `count` lines: reads backwards from the end, and no more than it needs. */
export function skipToLastLines(parts: readonly LogPart[], count: number): void {
  let lines = 0;
  let isEnough = false;
  for (const part of [...parts].reverse()) {
    const found: TailStart = isEnough ? { start: part.end, lines } : findStart(part, { wanted: count, found: lines });
    lines = found.lines;
    isEnough ||= found.start > part.at;
    part.at = found.start;
  }
}

interface TailStart {
  readonly start: number;
  /** Counted from the end of the log on. */
  readonly lines: number;
}

/** Where the wanted last lines begin in this part, or its own start when it has not enough. */
function findStart(part: LogPart, counted: { wanted: number; found: number }): TailStart {
  let lines = counted.found;
  let end = part.end;
  let carried: Buffer = Buffer.alloc(0);
  while (end > part.at) {
    const begin = Math.max(part.at, end - tailBlockBytes);
    const block = Buffer.concat([readExactly(part.file.descriptor, { start: begin, end }), carried]);
    // Lines that begin in this block: each after a newline, and the first of all.
    let lineEnd = block.lastIndexOf(newline);
    while (lineEnd >= 0) {
      const before = lineEnd === 0 ? -1 : block.lastIndexOf(newline, lineEnd - 1);
      if (before < 0 && begin > part.at) break;
      const isLineEnd = isWholeLine(block, before + 1) || lines === 0;
      if (isLineEnd && lines === counted.wanted) return { start: begin + lineEnd + 1, lines };
      if (isLineEnd) lines++;
      lineEnd = before;
    }
    carried = lineEnd < 0 ? Buffer.alloc(0) : Buffer.from(block.subarray(0, lineEnd + 1));
    end = begin;
  }
  return { start: part.at, lines };
}

export function readExactly(descriptor: number, range: { start: number; end: number }): Buffer {
  const bytes = Buffer.allocUnsafe(range.end - range.start);
  let length = 0;
  while (length < bytes.length) {
    const count = readSync(descriptor, bytes, length, bytes.length - length, range.start + length);
    if (count === 0) break;
    length += count;
  }
  return bytes.subarray(0, length);
}
