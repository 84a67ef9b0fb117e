import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { newId, toEngineError } from "../../common/index.ts";

/** So many folders of clients are kept; the one that was used longest ago goes first. */
const maxKept = 32;

/** A folder on disk for one client's folder, held by one user at a time. */
export interface SyncedFolder extends Disposable {
  readonly root: string;
  /** Names what is in it: another name after each change, never one that was there before. */
  readonly state: string;
  /** Encoded stats of what is in it, in the order of a walk. */
  readonly known: readonly Uint8Array[];
  /** From here on nobody may rely on `known`: written before the first change. */
  invalidate(): void;
  /** The folder is as these stats say. */
  record(stats: readonly Uint8Array[]): void;
}

/**
 * Folders that follow clients' folders from build to build, below `<engine root>/build-contexts`. Each has `tree` and, while it is
 * known to be whole, `stats`: a crash half-way leaves no stats, and the next user starts from an empty tree.
 */
export class SyncedFolders {
  readonly #inUse = new Set<string>();
  readonly #states = new Map<string, string>();

  constructor(private readonly directory: string) {}

  /** A folder of that name; a second user at the same time gets another one of its own. */
  acquire(name: string): SyncedFolder {
    let key = name;
    for (let other = 1; this.#inUse.has(key); other += 1) key = `${name}-${other}`;
    this.#inUse.add(key);
    try {
      return this.#open(key);
    } catch (error) {
      this.#inUse.delete(key);
      throw toEngineError(error);
    }
  }

  /** Removes what nobody uses. Returns how many folders went. */
  prune(): number {
    return this.#removeBeyond(0);
  }

  #open(key: string): SyncedFolder {
    const home = join(this.directory, key);
    const root = join(home, "tree");
    const recordPath = join(home, "stats");
    const known = readRecord(recordPath);
    const states = this.#states;
    if (!known || !states.has(key)) states.set(key, newId());
    if (!known) rmSync(root, { recursive: true, force: true });
    mkdirSync(root, { recursive: true, mode: 0o700 });
    utimesSync(home, new Date(), new Date());
    this.#removeBeyond(maxKept);
    return {
      root,
      get state() {
        return states.get(key) ?? "";
      },
      known: known ?? [],
      invalidate() {
        states.set(key, newId());
        rmSync(recordPath, { force: true });
      },
      record(stats) {
        writeFileSync(`${recordPath}.new`, encodeRecord(stats));
        renameSync(`${recordPath}.new`, recordPath);
      },
      [Symbol.dispose]: () => void this.#inUse.delete(key),
    };
  }

  #removeBeyond(kept: number): number {
    const idle = readdirSync(this.directory)
      .filter((key) => !this.#inUse.has(key))
      .map((key) => ({ key, usedMs: statSync(join(this.directory, key)).mtimeMs }))
      .toSorted((a, b) => b.usedMs - a.usedMs);
    const removed = idle.slice(kept);
    for (const { key } of removed) {
      this.#states.delete(key);
      rmSync(join(this.directory, key), { recursive: true, force: true });
    }
    return removed.length;
  }
}

/** Each entry with its length before it; the count at the front tells a file that was cut. */
function encodeRecord(stats: readonly Uint8Array[]): Uint8Array {
  const sizeBytes = stats.reduce((sum, stat) => sum + 4 + stat.length, 4);
  const bytes = Buffer.alloc(sizeBytes);
  let at = bytes.writeUInt32LE(stats.length);
  for (const stat of stats) {
    at = bytes.writeUInt32LE(stat.length, at);
    bytes.set(stat, at);
    at += stat.length;
  }
  return bytes;
}

/** Undefined for a record that is not there or not whole. */
function readRecord(path: string): Uint8Array[] | undefined {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch {
    return undefined;
  }
  const stats: Uint8Array[] = [];
  if (bytes.length < 4) return undefined;
  const count = bytes.readUInt32LE(0);
  for (let at = 4; at < bytes.length;) {
    if (at + 4 > bytes.length) return undefined;
    const length = bytes.readUInt32LE(at);
    if (at + 4 + length > bytes.length) return undefined;
    stats.push(bytes.subarray(at + 4, at + 4 + length));
    at += 4 + length;
  }
  return stats.length === count ? stats : undefined;
}
