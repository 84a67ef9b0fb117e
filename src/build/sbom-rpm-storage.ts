// The three files that rpm has kept its headers in, as sequences of header blobs. Bounds are checked: the file is the image's.
import { Database } from "bun:sqlite";

/** Thrown for a database that is not what its format says; the scan notes it. */
export class RpmDatabaseError extends Error {}

const maxHeaderBytes = 64 * 1024 ** 2;

/**
 * Header blobs of `rpmdb.sqlite` (rpm 4.16 and later). The bytes are opened in memory: nothing beside them is read or written, so
 * that what a write-ahead log would add is missing.
 */
export function* sqliteHeaders(bytes: Uint8Array): Generator<Uint8Array> {
  const copy = Buffer.from(bytes);
  // Bytes 18 and 19 ask for a write-ahead log (SQLite file format, 1.3), which a database in memory cannot have.
  if (copy.length > 19) copy[18] = copy[19] = 1;
  let database: Database;
  try {
    database = Database.deserialize(copy, true);
  } catch (error) {
    throw new RpmDatabaseError(`SQLite refuses it: ${(error as Error).message}`);
  }
  try {
    for (const { blob } of database
      .query<{ blob: Uint8Array }, []>("SELECT blob FROM Packages ORDER BY hnum")
      .iterate()) {
      if (blob instanceof Uint8Array) yield blob;
    }
  } catch (error) {
    throw new RpmDatabaseError(`SQLite refuses it: ${(error as Error).message}`);
  } finally {
    database.close();
  }
}

const ndbPageBytes = 4096;
const ndbSlotBytes = 16;
const ndbBlockBytes = 16;
const ndbBlobHeaderBytes = 16;

/** Header blobs of `Packages.db` (SUSE): slots of the first pages say where each blob begins. All numbers are little endian. */
export function* ndbHeaders(bytes: Uint8Array): Generator<Uint8Array> {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.length < ndbPageBytes || view.toString("latin1", 0, 4) !== "RpmP")
    throw new RpmDatabaseError("it has no ndb header");
  const slotBytes = view.readUInt32LE(12) * ndbPageBytes;
  if (slotBytes > view.length) throw new RpmDatabaseError("its slots reach past its end");
  const found: { index: number; offset: number }[] = [];
  // The header takes the place of the first two slots.
  for (let at = 2 * ndbSlotBytes; at < slotBytes; at += ndbSlotBytes) {
    if (view.toString("latin1", at, at + 4) !== "Slot") throw new RpmDatabaseError("it has a damaged slot");
    const index = view.readUInt32LE(at + 4);
    if (index !== 0) found.push({ index, offset: view.readUInt32LE(at + 8) * ndbBlockBytes });
  }
  for (const { index, offset } of found.sort((a, b) => a.index - b.index)) {
    const isBlob = offset + ndbBlobHeaderBytes <= view.length && view.toString("latin1", offset, offset + 4) === "BlbS";
    const length = isBlob && view.readUInt32LE(offset + 4) === index ? view.readUInt32LE(offset + 12) : undefined;
    if (length === undefined || offset + ndbBlobHeaderBytes + length > view.length)
      throw new RpmDatabaseError("it has a damaged blob");
    yield view.subarray(offset + ndbBlobHeaderBytes, offset + ndbBlobHeaderBytes + length);
  }
}

const pageHeaderBytes = 26;
const hashMagic = 0x061561;
const page = { hashUnsorted: 2, overflow: 7, hash: 13 } as const;
const offPage = 3;

/** Header blobs of `Packages` (rpm before 4.16): Berkeley DB's hash pages, long values on chains of overflow pages. */
export function* berkeleyHeaders(bytes: Uint8Array): Generator<Uint8Array> {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.length < 512) throw new RpmDatabaseError("it is too short");
  const bigEndian = view.readUInt32BE(12) === hashMagic;
  if (!bigEndian && view.readUInt32LE(12) !== hashMagic) throw new RpmDatabaseError("it is no hash of Berkeley DB");
  const u32 = (at: number): number => (bigEndian ? view.readUInt32BE(at) : view.readUInt32LE(at));
  const u16 = (at: number): number => (bigEndian ? view.readUInt16BE(at) : view.readUInt16LE(at));
  const pageBytes = u32(20);
  if (pageBytes < 512 || pageBytes > 65536 || (pageBytes & (pageBytes - 1)) !== 0)
    throw new RpmDatabaseError("its page size is none");
  if (view[24] !== 0) throw new RpmDatabaseError("it is encrypted");
  const pages = Math.floor(view.length / pageBytes);
  const values: { key: number; whole?: Buffer; first: number; length: number }[] = [];
  for (let number = 1; number < pages; number++) {
    const start = number * pageBytes;
    const type = view[start + 25];
    if (type !== page.hash && type !== page.hashUnsorted) continue;
    const entries = u16(start + 20);
    if (pageHeaderBytes + 2 * entries > pageBytes) throw new RpmDatabaseError("it has a damaged page");
    const item = (entry: number): number => start + u16(start + pageHeaderBytes + 2 * entry);
    // Keys and values take turns; items grow from the page's end towards its index.
    for (let entry = 0; entry + 1 < entries; entry += 2) {
      const [key, value] = [item(entry), item(entry + 1)];
      if (Math.max(key + 5, value + 1) > start + pageBytes) throw new RpmDatabaseError("it has a damaged page");
      // The number that a package was given; 0 holds the last of them.
      const packageNumber = u32(key + 1);
      if (packageNumber === 0) continue;
      const isLong = view[value] === offPage && value + 12 <= start + pageBytes;
      if (isLong) values.push({ key: packageNumber, first: u32(value + 4), length: u32(value + 8) });
      else values.push({ key: packageNumber, first: 0, length: 0, whole: view.subarray(value + 1, key) });
    }
  }
  for (const { first, length, whole } of values.sort((a, b) => a.key - b.key)) {
    if (whole) {
      yield whole;
      continue;
    }
    if (length > maxHeaderBytes) throw new RpmDatabaseError("it has a value without measure");
    const parts: Buffer[] = [];
    let left = length;
    for (let number = first, steps = 0; number !== 0 && left > 0; steps++) {
      const start = number * pageBytes;
      if (number >= pages || steps > pages || view[start + 25] !== page.overflow)
        throw new RpmDatabaseError("it has a broken chain of pages");
      const used = Math.min(u16(start + 22), pageBytes - pageHeaderBytes, left);
      parts.push(view.subarray(start + pageHeaderBytes, start + pageHeaderBytes + used));
      left -= used;
      number = u32(start + 16);
    }
    if (left > 0) throw new RpmDatabaseError("it has a broken chain of pages");
    yield Buffer.concat(parts);
  }
}
