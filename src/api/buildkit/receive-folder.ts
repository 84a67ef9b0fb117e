// The receiving side of fsutil's file protocol (tonistiigi/fsutil, receive.go): stats come in the order of a walk, files are asked for
// by their number among the stats, and their content comes in pieces of several files at once.
import { EngineError } from "../../common/index.ts";
import type { GrpcStream } from "./grpc-client.ts";
import { kindOfMode } from "./go-file-mode.ts";
import { packetTypes, statMessage, type Packet, type Stat } from "./session-messages.ts";
import { checkPath, SyncedTree } from "./synced-tree.ts";

/** How many files may be on their way at once. */
const maxRequested = 64;
/** What is kept of a folder while it comes: its entries, and the bytes that describe them. */
const maxEntries = 1_000_000;
const maxDescriptionBytes = 128 * 1024 * 1024;

export interface FolderProgress {
  (counts: { readonly files: number; readonly bytes: number }): void;
}

/**
 * Makes the folder as the client's is. `known` are the encoded stats of its last state, in order; what has the same stat is
 * not asked for again. Calls `beforeChange` once before the first change on disk. Returns the encoded stats of the new state, and
 * whether any differs. Throws invalidArgument for paths that climb out or are out of order, and for a file that changed while it
 * was read.
 */
export async function receiveFolder(
  stream: GrpcStream<Packet, Packet>,
  options: {
    root: string;
    known: readonly Uint8Array[];
    beforeChange: () => void;
    onProgress?: FolderProgress | undefined;
    /** Whose all of it is; absent: the client's own owners. */
    owner?: { readonly uid: number; readonly gid: number };
  },
): Promise<{ stats: Uint8Array[]; changed: boolean }> {
  using tree = new SyncedTree(options.root);
  const receiver = new Receiver(tree, stream, options);
  for await (const packet of stream.responses) {
    if (receiver.take(packet)) break;
  }
  if (!receiver.finished) throw new EngineError("unavailable", "The client ended the transfer of its files half-way");
  receiver.finish();
  await stream.write({ type: packetTypes.finish });
  stream.end();
  return { stats: receiver.stats, changed: receiver.changed };
}

class Receiver {
  readonly stats: Uint8Array[] = [];
  changed = false;
  readonly #pending = new Map<number, Stat>();
  readonly #waiting: number[] = [];
  readonly #links: Stat[] = [];
  #requested = 0;
  #listed = false;
  #last: Uint8Array | undefined;
  #knownAt = 0;
  #descriptionBytes = 0;
  #files = 0;
  #bytes = 0;

  constructor(
    private readonly tree: SyncedTree,
    private readonly stream: GrpcStream<Packet, Packet>,
    private readonly options: {
      known: readonly Uint8Array[];
      beforeChange: () => void;
      onProgress?: FolderProgress | undefined;
      owner?: { readonly uid: number; readonly gid: number };
    },
  ) {}

  get finished(): boolean {
    return this.#listed && this.#pending.size === 0;
  }

  /** True once nothing more is to come. */
  take(packet: Packet): boolean {
    switch (packet.type) {
      case packetTypes.stat:
        if (packet.stat.length > 0) this.#entry(packet.stat);
        else this.#endOfList();
        break;
      case packetTypes.data:
        this.#data(packet);
        break;
      case packetTypes.error:
        throw new EngineError(
          "invalidArgument",
          `The client cannot send its files: ${Buffer.from(packet.data).toString()}`,
        );
      default:
        throw new EngineError("invalidArgument", `The client sent a packet of type ${packet.type} where files are due`);
    }
    return this.finished;
  }

  /** Links wait for the files that they name, and times of directories for the last change in them. */
  finish(): void {
    if (!this.changed) return;
    for (const link of this.#links) this.tree.place(link);
    for (const raw of this.stats) {
      const stat = statMessage.decode(raw);
      if (kindOfMode(stat.mode) === "directory" && this.tree.isChanged(stat.path)) this.tree.setDirectoryTime(stat);
    }
  }

  #entry(raw: Uint8Array): void {
    if (this.stats.length >= maxEntries) {
      throw new EngineError("resourceExhausted", `The client's folder has more than ${maxEntries} entries`);
    }
    this.#descriptionBytes += raw.length;
    if (this.#descriptionBytes > maxDescriptionBytes) {
      const why = `the descriptions of its entries are over ${maxDescriptionBytes} bytes`;
      throw new EngineError("resourceExhausted", `The client's folder is too large: ${why}`);
    }
    const id = this.stats.length;
    const last = this.#last;
    const next = this.options.known[this.#knownAt];
    if (next && same(next, raw)) {
      // The kept bytes, so that those of the connection can go.
      this.stats.push(next);
      this.#last = next;
      this.#knownAt += 1;
      return;
    }
    const kept = raw.slice();
    this.stats.push(kept);
    this.#last = kept;
    const stat = { ...statMessage.decode(kept), ...this.options.owner };
    checkPath(stat.path);
    const lastPath = last && statMessage.decode(last).path;
    if (lastPath !== undefined && compareWalk(lastPath, stat.path) >= 0) {
      throw new EngineError("invalidArgument", `The client sent "${stat.path}" out of order, after "${lastPath}"`);
    }
    const known = this.#knownOf(stat.path);
    this.#change();
    const kind = kindOfMode(stat.mode);
    if (known && kind === "file" && sameContent(known, stat)) {
      this.tree.touch(stat);
      return;
    }
    // What it is another name of may still be on its way.
    if (kind === "file" && stat.linkname !== "") return void this.#links.push(stat);
    this.tree.place(stat);
    if (kind === "file") this.#request(id, stat);
  }

  /** What the folder had at this path; what it had before it and the client no longer has is removed. */
  #knownOf(path: string): Stat | undefined {
    for (;;) {
      const next = this.options.known[this.#knownAt];
      if (!next) return undefined;
      const stat = statMessage.decode(next);
      const order = compareWalk(stat.path, path);
      if (order > 0) return undefined;
      this.#knownAt += 1;
      if (order === 0) return stat;
      this.#change();
      this.#removeWithAll(stat.path);
    }
  }

  #removeWithAll(path: string): void {
    this.tree.remove(path);
    for (; this.#knownAt < this.options.known.length; this.#knownAt += 1) {
      const next = this.options.known[this.#knownAt];
      if (!next || !statMessage.decode(next).path.startsWith(`${path}/`)) return;
    }
  }

  #endOfList(): void {
    while (this.#knownAt < this.options.known.length) {
      const next = this.options.known[this.#knownAt++];
      if (!next) break;
      this.#change();
      this.#removeWithAll(statMessage.decode(next).path);
    }
    this.#listed = true;
    this.#tell();
  }

  #request(id: number, stat: Stat): void {
    this.#pending.set(id, stat);
    this.#waiting.push(id);
    this.#requestMore();
  }

  #requestMore(): void {
    while (this.#requested < maxRequested) {
      const id = this.#waiting.shift();
      if (id === undefined) return;
      this.#requested += 1;
      // Not awaited: whoever waits here does not read, and the client may be waiting for that.
      void this.stream.write({ type: packetTypes.request, id });
    }
  }

  #data(packet: Packet): void {
    const stat = this.#pending.get(packet.id);
    if (!stat)
      throw new EngineError("invalidArgument", `The client sent content of file ${packet.id}, which nobody asked for`);
    if (packet.data.length > 0) {
      this.tree.write(packet.id, stat, packet.data);
      this.#bytes += packet.data.length;
      return;
    }
    this.tree.close(packet.id, stat);
    this.#pending.delete(packet.id);
    this.#requested -= 1;
    this.#files += 1;
    this.#requestMore();
    this.#tell();
  }

  #tell(): void {
    this.options.onProgress?.({ files: this.#files, bytes: this.#bytes });
  }

  #change(): void {
    if (!this.changed) this.options.beforeChange();
    this.changed = true;
  }
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && Buffer.compare(a, b) === 0;
}

function sameContent(a: Stat, b: Stat): boolean {
  return (
    kindOfMode(a.mode) === "file" &&
    a.size === b.size &&
    a.modTime === b.modTime &&
    a.linkname === "" &&
    b.linkname === "" &&
    a.xattrs.size === 0 &&
    b.xattrs.size === 0
  );
}

/** The order of a walk that lists a folder's names bytewise and goes into each at once: a slash sorts before everything. */
export function compareWalk(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let at = 0; at < length; at += 1) {
    if (a.charCodeAt(at) === b.charCodeAt(at)) continue;
    if (a[at] === "/") return -1;
    if (b[at] === "/") return 1;
    return Buffer.compare(Buffer.from(a.slice(at)), Buffer.from(b.slice(at)));
  }
  return a.length - b.length;
}
