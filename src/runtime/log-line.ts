/** One record of a container's log: a line, or a piece of one that was too long or not ended. */
export interface LogRecord {
  readonly stream: "stdout" | "stderr";
  /** RFC 3339 with nanoseconds, as written. */
  readonly time: string;
  /** With its newline, unless `partial`. */
  readonly data: Uint8Array;
  readonly partial: boolean;
}

const space = 0x20;
const newline = 0x0a;

/** Whether the line from `start` ends a line of the container's output (tag F); a piece has P. */
export function isWholeLine(bytes: Uint8Array, start: number): boolean {
  const afterTime = bytes.indexOf(space, start);
  const afterStream = bytes.indexOf(space, afterTime + 1);
  return bytes[afterStream + 1] !== 0x50;
}

/**
 * Parses one line of the CRI log format, `<RFC3339Nano> stdout|stderr F|P text`. `bytes[end]` is its newline. Undefined for a line
 * that is none, as a power cut may leave.
 */
export function parseLogLine(bytes: Buffer, { start, end }: { start: number; end: number }): LogRecord | undefined {
  const afterTime = bytes.indexOf(space, start);
  const afterStream = bytes.indexOf(space, afterTime + 1);
  if (afterTime < 0 || afterStream < 0 || afterStream + 2 > end) return undefined;
  const stream = bytes.toString("latin1", afterTime + 1, afterStream);
  const tag = bytes[afterStream + 1];
  const isPartial = tag === 0x50;
  if ((stream !== "stdout" && stream !== "stderr") || (tag !== 0x46 && !isPartial)) return undefined;
  const text = Math.min(afterStream + 3, end);
  // The newline that ends the record is also the one that ended the line.
  const data = bytes.subarray(text, isPartial ? end : end + 1);
  return { stream, time: bytes.toString("latin1", start, afterTime), data, partial: isPartial };
}

export function nextLineEnd(bytes: Uint8Array, start: number): number {
  return bytes.indexOf(newline, start);
}

/** Unix nanoseconds of an RFC 3339 time in UTC; undefined when it is none. */
export function timeNs(text: string): bigint | undefined {
  const match = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/.exec(text);
  if (!match) return undefined;
  const [, whole, fraction = "", zone = "Z"] = match;
  const seconds = Date.parse(`${whole}${zone}`) / 1000;
  return Number.isNaN(seconds) ? undefined : BigInt(seconds) * 1_000_000_000n + BigInt(fraction.padEnd(9, "0"));
}
