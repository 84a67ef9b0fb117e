// One header, one form: ustar where it fits, a pax header for what does not, in an order that depends on the content only.
import { EngineError } from "../common/index.ts";
import { compareNames, pathToBytes } from "../kernel/index.ts";
import { formatPax, formatPaxTime } from "./pax.ts";
import type { TarEntry } from "./read-tar.ts";
import { blockSize, type TarHeader, type TarType } from "./tar-header.ts";

const flagOfType: Readonly<Record<TarType, string>> = {
  file: "0",
  hardlink: "1",
  symlink: "2",
  character: "3",
  block: "4",
  directory: "5",
  fifo: "6",
};

/** The header's blocks: a pax header first when something does not fit a ustar block. Directories get a final slash. */
export function encodeHeader(header: TarHeader): Buffer {
  const name = pathToBytes(header.type === "directory" && !header.name.endsWith("/") ? `${header.name}/` : header.name);
  const link = pathToBytes(header.linkName);
  const size = header.type === "file" ? header.size : 0;
  const pax = new Map<string, Uint8Array>();
  const split = splitName(name);
  if (!split) pax.set("path", name);
  if (link.length > 100 || !isAscii(link)) pax.set("linkpath", link);
  if (size > 0o77777777777) pax.set("size", Buffer.from(String(size)));
  for (const key of ["uid", "gid"] as const) {
    if (header[key] > 0o7777777) pax.set(key, Buffer.from(String(header[key])));
  }
  for (const [key, text] of [
    ["uname", header.userName],
    ["gname", header.groupName],
  ] as const) {
    const bytes = pathToBytes(text);
    if (bytes.length > 31 || !isAscii(bytes)) pax.set(key, bytes);
  }
  const seconds = header.mtimeNs / 1_000_000_000n;
  const plainTime = header.mtimeNs >= 0n && header.mtimeNs % 1_000_000_000n === 0n && seconds <= 0o77777777777n;
  if (!plainTime) pax.set("mtime", Buffer.from(formatPaxTime(header.mtimeNs)));
  for (const [key, value] of header.xattrs) pax.set(`SCHILY.xattr.${key}`, value);

  const block = encodeBlock({
    name: split?.name ?? fallback(name),
    prefix: split?.prefix ?? Buffer.alloc(0),
    link: pax.has("linkpath") ? fallback(link) : link,
    mode: header.mode & 0o7777,
    uid: header.uid > 0o7777777 ? 0 : header.uid,
    gid: header.gid > 0o7777777 ? 0 : header.gid,
    size: size > 0o77777777777 ? 0 : size,
    mtime: plainTime ? Number(seconds) : 0,
    flag: flagOfType[header.type],
    userName: pax.has("uname") ? "" : header.userName,
    groupName: pax.has("gname") ? "" : header.groupName,
    device: header.type === "character" || header.type === "block" ? [header.major, header.minor] : undefined,
  });
  if (pax.size === 0) return block;
  return Buffer.concat([encodePaxHeader(pax), block]);
}

function encodePaxHeader(records: ReadonlyMap<string, Uint8Array>): Buffer {
  const keys = [...records.keys()].sort(compareNames);
  const body = Buffer.concat(keys.map((key) => formatPax(key, records.get(key) ?? new Uint8Array())));
  const block = encodeBlock({
    name: Buffer.from("PaxHeaders.0/x"),
    prefix: Buffer.alloc(0),
    link: Buffer.alloc(0),
    mode: 0o644,
    uid: 0,
    gid: 0,
    size: body.length,
    mtime: 0,
    flag: "x",
    userName: "",
    groupName: "",
    device: undefined,
  });
  return Buffer.concat([block, body, Buffer.alloc(paddingOf(body.length))]);
}

interface BlockFields {
  readonly name: Uint8Array;
  readonly prefix: Uint8Array;
  readonly link: Uint8Array;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly mtime: number;
  readonly flag: string;
  readonly userName: string;
  readonly groupName: string;
  readonly device: readonly [major: number, minor: number] | undefined;
}

function encodeBlock(fields: BlockFields): Buffer {
  const block = Buffer.alloc(blockSize);
  block.set(fields.name, 0);
  octal(block, { at: 100, digits: 7, value: fields.mode });
  octal(block, { at: 108, digits: 7, value: fields.uid });
  octal(block, { at: 116, digits: 7, value: fields.gid });
  octal(block, { at: 124, digits: 11, value: fields.size });
  octal(block, { at: 136, digits: 11, value: fields.mtime });
  block.fill(0x20, 148, 156);
  block.write(fields.flag, 156, "latin1");
  block.set(fields.link, 157);
  block.write("ustar\u000000", 257, "latin1");
  block.write(fields.userName, 265, "latin1");
  block.write(fields.groupName, 297, "latin1");
  octal(block, { at: 329, digits: 7, value: fields.device?.[0] ?? 0 });
  octal(block, { at: 337, digits: 7, value: fields.device?.[1] ?? 0 });
  block.set(fields.prefix, 345);
  let sum = 0;
  for (let index = 0; index < blockSize; index++) sum += block[index] ?? 0;
  octal(block, { at: 148, digits: 6, value: sum });
  return block;
}

function octal(block: Buffer, field: { at: number; digits: number; value: number }): void {
  block.write(field.value.toString(8).padStart(field.digits, "0"), field.at, "latin1");
  block[field.at + field.digits] = 0;
}

function isAscii(bytes: Uint8Array): boolean {
  for (const byte of bytes) if (byte >= 0x80 || byte === 0) return false;
  return true;
}

/** How a name goes into the fields of 100 and 155 bytes; undefined when it does not. */
function splitName(name: Uint8Array): { name: Uint8Array; prefix: Uint8Array } | undefined {
  if (!isAscii(name)) return undefined;
  if (name.length <= 100) return { name, prefix: name.subarray(0, 0) };
  if (name.length > 256) return undefined;
  // The last slash that leaves at most 155 bytes before it and at least one after it.
  const slash = Buffer.from(name.buffer, name.byteOffset, Math.min(156, name.length - 1)).lastIndexOf(0x2f);
  if (slash <= 0 || name.length - slash - 1 > 100) return undefined;
  return { name: name.subarray(slash + 1), prefix: name.subarray(0, slash) };
}

/** What a reader without pax would show. */
function fallback(bytes: Uint8Array): Uint8Array {
  return bytes.subarray(0, 100).map((byte) => (byte >= 0x80 ? 0x5f : byte));
}

/** Zero bytes that fill `size` up to a whole block. */
export function paddingOf(size: number): number {
  return (blockSize - (size % blockSize)) % blockSize;
}

/** The end-of-archive mark. */
export const endOfArchive: Uint8Array = new Uint8Array(blockSize * 2);

/** Writes entries as a tar stream. The same entries give the same bytes. A body must have the size its header states. */
export async function* packEntries(entries: AsyncIterable<TarEntry> | Iterable<TarEntry>): AsyncGenerator<Uint8Array> {
  for await (const { header, body } of entries) {
    yield encodeHeader(header);
    if (header.type !== "file") continue;
    let written = 0;
    for await (const chunk of body) {
      written += chunk.length;
      if (written > header.size) break;
      yield chunk;
    }
    if (written !== header.size) {
      throw new EngineError("internal", `Cannot pack "${header.name}": its body does not have ${header.size} bytes`);
    }
    const padding = paddingOf(written);
    if (padding > 0) yield new Uint8Array(padding);
  }
  yield endOfArchive;
}
