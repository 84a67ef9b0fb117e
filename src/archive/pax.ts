// pax extended headers: `<length> <key>=<value>\n`, where the value may be any bytes. pax(1), "pax Header Block".
import { bytesToPath, pathToBytes } from "../kernel/index.ts";
import { tarError, type TarHeader } from "./tar-header.ts";

export type PaxRecord = readonly [key: string, value: Buffer];

/** Records in their order; GNU's sparse 0.0 repeats keys. */
export function parsePax(bytes: Buffer): PaxRecord[] {
  const records: PaxRecord[] = [];
  for (let at = 0; at < bytes.length;) {
    const space = bytes.indexOf(0x20, at);
    const digits = space < 0 || space - at > 20 ? "" : bytes.toString("latin1", at, space);
    const length = /^[0-9]+$/.test(digits) ? Number(digits) : 0;
    const end = at + length;
    const equals = bytes.indexOf(0x3d, space);
    if (
      length < 5 ||
      end > bytes.length ||
      bytes[end - 1] !== 0x0a ||
      equals < 0 ||
      equals >= end ||
      equals === space + 1
    ) {
      throw tarError(`a pax record at byte ${at} is malformed`);
    }
    records.push([bytesToPath(bytes.subarray(space + 1, equals)), bytes.subarray(equals + 1, end - 1)]);
    at = end;
  }
  return records;
}

/** One record's bytes; the length counts its own digits. */
export function formatPax(key: string, value: Uint8Array): Buffer {
  const rest = Buffer.concat([Buffer.from(" "), pathToBytes(key), Buffer.from("="), value, Buffer.from("\n")]);
  let length = rest.length;
  for (let digits = 0; digits !== String(length).length;) {
    digits = String(length).length;
    length = rest.length + digits;
  }
  return Buffer.concat([Buffer.from(String(length)), rest]);
}

const schilyXattr = "SCHILY.xattr.";
const libarchiveXattr = "LIBARCHIVE.xattr.";

/** Puts what the records say into `header`. Sparse keys are left to the parser. An empty value means: as in the block. */
export function applyPax(header: TarHeader, records: Iterable<PaxRecord>): void {
  let xattrs: Map<string, Uint8Array> | undefined;
  for (const [key, value] of records) {
    if (key.startsWith(schilyXattr)) (xattrs ??= new Map()).set(key.slice(schilyXattr.length), new Uint8Array(value));
    else if (key.startsWith(libarchiveXattr)) {
      const name = decodeURIComponent(key.slice(libarchiveXattr.length));
      xattrs ??= new Map();
      if (!xattrs.has(name)) xattrs.set(name, new Uint8Array(Buffer.from(value.toString("latin1"), "base64")));
    } else if (value.length > 0) applyRecord(header, key, value);
  }
  if (xattrs) header.xattrs = xattrs;
}

function applyRecord(header: TarHeader, key: string, value: Buffer): void {
  switch (key) {
    case "path":
      header.name = paxText(key, value);
      break;
    case "linkpath":
      header.linkName = paxText(key, value);
      break;
    case "uname":
      header.userName = paxText(key, value);
      break;
    case "gname":
      header.groupName = paxText(key, value);
      break;
    case "size":
    case "uid":
    case "gid":
      header[key] = paxNumber(key, value);
      break;
    case "mtime":
      header.mtimeNs = paxTime(value);
      break;
    case "SCHILY.devmajor":
      header.major = paxNumber(key, value);
      break;
    case "SCHILY.devminor":
      header.minor = paxNumber(key, value);
      break;
  }
}

export function paxText(key: string, value: Buffer): string {
  if (value.includes(0)) throw tarError(`the pax record ${key} holds a NUL byte`);
  return bytesToPath(value);
}

/** A decimal integer from 0 to 2^53. */
export function paxNumber(key: string, value: Buffer): number {
  const digits = value.toString("latin1", 0, 40);
  const number = Number(digits);
  if (!/^[0-9]+$/.test(digits) || !Number.isSafeInteger(number)) {
    throw tarError(`the pax record ${key} is ${JSON.stringify(digits)}, not a number from 0 to 2^53`);
  }
  return number;
}

function paxTime(value: Buffer): bigint {
  const match = /^(-?)([0-9]{1,18})(?:\.([0-9]*))?$/.exec(value.toString("latin1", 0, 60));
  if (!match) throw tarError(`the pax time ${JSON.stringify(value.toString("latin1", 0, 60))} is no decimal number`);
  const nanoseconds = BigInt((match[3] ?? "").slice(0, 9).padEnd(9, "0"));
  const total = BigInt(match[2] ?? "0") * 1_000_000_000n + nanoseconds;
  return match[1] === "-" ? -total : total;
}

/** `1700000000.123456789`, without needless zeros. */
export function formatPaxTime(timeNs: bigint): string {
  const sign = timeNs < 0n ? "-" : "";
  const absolute = timeNs < 0n ? -timeNs : timeNs;
  const fraction = String(absolute % 1_000_000_000n)
    .padStart(9, "0")
    .replace(/0+$/, "");
  return `${sign}${absolute / 1_000_000_000n}${fraction === "" ? "" : `.${fraction}`}`;
}
