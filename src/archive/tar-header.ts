// One 512-byte header block: pax(1) "ustar interchange format", and GNU tar's extensions of it (tar(5) of libarchive).
import { EngineError } from "../common/index.ts";
import { bytesToPath } from "../kernel/index.ts";

export const blockSize = 512;

export type TarType = "file" | "directory" | "symlink" | "hardlink" | "character" | "block" | "fifo";

/**
 * What an archive says of one file. `name` as written, without a final slash; bytes that are not UTF-8 are kept as `bytesToPath`
 * keeps them. `mode`: the 12 permission bits. `size` in bytes as a reader sees the file: a sparse file's holes count.
 */
export interface TarHeader {
  name: string;
  type: TarType;
  mode: number;
  uid: number;
  gid: number;
  size: number;
  mtimeNs: bigint;
  linkName: string;
  major: number;
  minor: number;
  userName: string;
  groupName: string;
  xattrs: ReadonlyMap<string, Uint8Array>;
}

export const noXattrs: ReadonlyMap<string, Uint8Array> = new Map();

/** A header with every field that is not given at its neutral value. */
export function tarHeader(fields: Partial<TarHeader> & Pick<TarHeader, "name" | "type">): TarHeader {
  return {
    mode: 0o644,
    uid: 0,
    gid: 0,
    size: 0,
    mtimeNs: 0n,
    linkName: "",
    major: 0,
    minor: 0,
    userName: "",
    groupName: "",
    xattrs: noXattrs,
    ...fields,
  };
}

export function tarError(problem: string, cause?: unknown): EngineError {
  return new EngineError("invalidArgument", `Invalid archive: ${problem}`, cause === undefined ? {} : { cause });
}

/** The raw fields of a block, before long names and pax records have their say. `flag` is the type flag's character. */
export interface RawHeader {
  readonly name: string;
  readonly flag: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly mtimeSeconds: number;
  readonly linkName: string;
  readonly userName: string;
  readonly groupName: string;
  readonly major: number;
  readonly minor: number;
}

/** Parses and verifies a block that is not all zeros. */
export function parseHeaderBlock(block: Buffer): RawHeader {
  verifyChecksum(block);
  const magic = block.toString("latin1", 257, 263);
  const modern = magic === "ustar\0" || magic === "ustar ";
  const name = text(block, 0, 100);
  const prefix =
    magic === "ustar\0" ? text(block, 345, block.toString("latin1", 508, 512) === "tar\0" ? 131 : 155) : "";
  return {
    name: prefix === "" ? name : `${prefix}/${name}`,
    flag: String.fromCharCode(block[156] ?? 0),
    mode: parseNumber(block, { at: 100, length: 8, field: "mode" }) & 0o7777,
    uid: parseNumber(block, { at: 108, length: 8, field: "uid" }),
    gid: parseNumber(block, { at: 116, length: 8, field: "gid" }),
    size: parseNumber(block, { at: 124, length: 12, field: "size" }),
    mtimeSeconds: parseNumber(block, { at: 136, length: 12, field: "mtime" }),
    linkName: text(block, 157, 100),
    userName: modern ? text(block, 265, 32) : "",
    groupName: modern ? text(block, 297, 32) : "",
    major: modern ? parseNumber(block, { at: 329, length: 8, field: "device" }) : 0,
    minor: modern ? parseNumber(block, { at: 337, length: 8, field: "device" }) : 0,
  };
}

function verifyChecksum(block: Buffer): void {
  const stated = parseNumber(block, { at: 148, length: 8, field: "checksum" });
  let unsigned = 256;
  let signed = 256;
  for (let index = 0; index < blockSize; index++) {
    if (index === 148) index = 156;
    const byte = block[index] ?? 0;
    unsigned += byte;
    signed += byte > 127 ? byte - 256 : byte;
  }
  // Some old tars summed signed characters.
  if (stated !== unsigned && stated !== signed) throw tarError(`a header's checksum is ${unsigned}, not ${stated}`);
}

function text(block: Buffer, at: number, length: number): string {
  const end = block.indexOf(0, at);
  return bytesToPath(block.subarray(at, end < 0 || end > at + length ? at + length : end));
}

/** Octal text, or GNU's base-256 when the first bit is set. Within ±2^53. */
export function parseNumber(block: Buffer, where: { at: number; length: number; field: string }): number {
  const { at, length, field } = where;
  const first = block[at] ?? 0;
  if (first & 0x80) {
    let value = first & 0x40 ? BigInt(first) - 256n : BigInt(first & 0x3f);
    for (let index = at + 1; index < at + length; index++) value = value * 256n + BigInt(block[index] ?? 0);
    if (value > BigInt(Number.MAX_SAFE_INTEGER) || value < BigInt(Number.MIN_SAFE_INTEGER)) {
      throw tarError(`the ${field} ${value} is out of range`);
    }
    return Number(value);
  }
  const raw = block.toString("latin1", at, at + length);
  const digits = raw.replace(/^[ \0]+/, "").replace(/[ \0].*$/s, "");
  if (digits === "") return 0;
  if (!/^[0-7]+$/.test(digits)) throw tarError(`the ${field} ${JSON.stringify(raw)} is no octal number`);
  return parseInt(digits, 8);
}
