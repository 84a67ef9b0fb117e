import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { isWholeLine } from "./log-line.ts";
import type { LogPosition } from "./output-queue.ts";

/** One file of a log and the part of it to read. */
export interface LogPart {
  readonly descriptor: number;
  readonly start: number;
  readonly end: number;
}

const maxRotatedFiles = 1000;
const tailBlockBytes = 64 * 1024;
const newline = 0x0a;

export interface LogRange {
  /** Read on from here; default: the oldest record there is. */
  readonly from?: LogPosition;
  /** Stop here; default: where the current file ends now. Its generation tells which file is which when `from` is given. */
  readonly to?: LogPosition;
}

/**
 * Opens a log with its rotated files (`log.1` is younger than `log.2`) and says what to read of each, oldest first. Files are held
 * open, so that a rotation meanwhile changes nothing. The caller closes them. No log: nothing.
 */
export function openLogParts(path: string, range: LogRange): LogPart[] {
  const files = openFiles(path);
  const sizes = files.map((descriptor) => fstatSync(descriptor).size);
  const { from, to } = range;
  // The monitor may have rotated since it said `to`: the file that is shorter than that is a later one.
  const rotatedSince = to !== undefined && (sizes[0] ?? 0) < to.offset ? 1 : 0;
  const parts = files.map((descriptor, age): LogPart => {
    const size = sizes[age] ?? 0;
    if (!to) return { descriptor, start: 0, end: size };
    const generation = to.generation + rotatedSince - age;
    const end = generation > to.generation ? 0 : generation === to.generation ? Math.min(size, to.offset) : size;
    if (!from || generation > from.generation) return { descriptor, start: 0, end };
    return { descriptor, start: generation === from.generation ? from.offset : size, end };
  });
  return parts.reverse();
}

function openFiles(path: string): number[] {
  const descriptors: number[] = [];
  for (let age = 0; age < maxRotatedFiles; age++) {
    try {
      descriptors.push(openSync(age === 0 ? path : `${path}.${age}`, "r"));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") break;
      for (const descriptor of descriptors) closeSync(descriptor);
      throw error;
    }
  }
  return descriptors;
}

/** Moves the starts so that only the last `count` lines are left: reads backwards from the end, and no more than it needs. */
export function keepLastLines(parts: readonly LogPart[], count: number): LogPart[] {
  const kept: LogPart[] = [];
  let lines = 0;
  for (const part of [...parts].reverse()) {
    const found = count === 0 ? { start: part.end, lines: 0 } : findStart(part, { wanted: count, found: lines });
    lines = found.lines;
    kept.unshift({ ...part, start: found.start });
    if (found.start > part.start || count === 0) {
      // Everything older is not wanted; the descriptors still belong to the caller.
      const older = parts.slice(0, parts.length - kept.length);
      kept.unshift(...older.map((unused) => ({ ...unused, start: unused.end })));
      break;
    }
  }
  return kept;
}

/** Where the wanted last lines begin in this part, or its own start when it has not enough. */
function findStart(part: LogPart, counted: { wanted: number; found: number }): { start: number; lines: number } {
  let lines = counted.found;
  let end = part.end;
  let carried: Buffer = Buffer.alloc(0);
  while (end > part.start) {
    const begin = Math.max(part.start, end - tailBlockBytes);
    const block = Buffer.concat([readExactly(part.descriptor, { start: begin, end }), carried]);
    // Lines that begin in this block: each after a newline, and the first of all.
    let lineEnd = block.lastIndexOf(newline);
    while (lineEnd >= 0) {
      const before = lineEnd === 0 ? -1 : block.lastIndexOf(newline, lineEnd - 1);
      if (before < 0 && begin > part.start) break;
      const isLineEnd = isWholeLine(block, before + 1) || lines === 0;
      if (isLineEnd && lines === counted.wanted) return { start: begin + lineEnd + 1, lines };
      if (isLineEnd) lines++;
      lineEnd = before;
    }
    carried = lineEnd < 0 ? Buffer.alloc(0) : Buffer.from(block.subarray(0, lineEnd + 1));
    end = begin;
  }
  return { start: part.start, lines };
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
