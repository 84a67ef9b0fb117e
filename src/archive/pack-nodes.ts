// Files of a tree as tar bytes, in large chunks. Synchronous inside; the loop gets its turn between chunks.
import { readSync } from "node:fs";
import { EngineError } from "../common/index.ts";
import {
  closeFd,
  errnoNumber,
  openFlags,
  procPath,
  readLinkAt,
  readXattrs,
  statFd,
  SystemError,
  tryOpenInRoot,
  type FileStat,
} from "../kernel/index.ts";
import { breathe } from "./breathe.ts";
import { splitPath } from "./member-path.ts";
import { tarHeader, type TarHeader } from "./tar-header.ts";
import type { TreeNode } from "./walk-tree.ts";
import { encodeHeader, endOfArchive, paddingOf } from "./write-tar.ts";

const chunkBytes = 1024 * 1024;
const gone = new Set(["ENOENT", "ENOTDIR", "ELOOP"].map(errnoNumber));

/** What one node becomes: entries of their own form, the file itself under a name, or nothing. */
export interface PackRule {
  /** Name in the archive; undefined leaves the node out. */
  name(node: TreeNode): string | undefined;
  /** Entries that stand for the node (a whiteout). Undefined: the node is packed as what it is. */
  instead?(node: TreeNode, name: string): TarHeader[] | undefined;
  /** Entries after the node's own. */
  after?(node: TreeNode, name: string): TarHeader[];
  /** Every chunk is the same memory: the reader is done with one before it asks for the next. */
  readonly reusesMemory?: boolean;
}

/** The archive of the nodes, with its end mark. Closes nothing: `rootFd` is the caller's. */
export async function* packNodes(
  rootFd: number,
  nodes: Iterable<TreeNode>,
  rule: PackRule,
): AsyncGenerator<Uint8Array> {
  for (const chunk of packSync(rootFd, nodes, rule)) {
    yield chunk;
    await breathe();
  }
}

/** Collects small writes into chunks, which the reader may keep unless memory is used again. */
class ChunkBuffer {
  constructor(private readonly reusesMemory: boolean) {}

  #buffer = Buffer.allocUnsafeSlow(chunkBytes);
  #used = 0;

  /** Space to write to, at least one byte; `advance` says how much was used. */
  get space(): Buffer {
    return this.#buffer.subarray(this.#used);
  }
  get full(): boolean {
    return this.#used === chunkBytes;
  }
  advance(bytes: number): void {
    this.#used += bytes;
  }
  take(): Uint8Array {
    const chunk = this.#buffer.subarray(0, this.#used);
    if (!this.reusesMemory) this.#buffer = Buffer.allocUnsafeSlow(chunkBytes);
    this.#used = 0;
    return chunk;
  }

  *write(bytes: Uint8Array): Generator<Uint8Array> {
    for (let at = 0; at < bytes.length;) {
      const take = Math.min(bytes.length - at, this.space.length);
      this.space.set(bytes.subarray(at, at + take));
      this.advance(take);
      at += take;
      if (this.full) yield this.take();
    }
  }
  *zeros(count: number): Generator<Uint8Array> {
    for (let left = count; left > 0;) {
      const take = Math.min(left, this.space.length);
      this.space.fill(0, 0, take);
      this.advance(take);
      left -= take;
      if (this.full) yield this.take();
    }
  }
}

function* packSync(rootFd: number, nodes: Iterable<TreeNode>, rule: PackRule): Generator<Uint8Array> {
  const out = new ChunkBuffer(rule.reusesMemory ?? false);
  /** First archive name of every file that has several. */
  const links = new Map<string, string>();
  for (const node of nodes) {
    const name = rule.name(node);
    if (name === undefined || node.stat.type === "socket") continue;
    const instead = rule.instead?.(node, name);
    if (instead) {
      for (const header of instead) yield* out.write(encodeHeader(header));
      continue;
    }
    const several = node.stat.links > 1 && node.stat.type !== "directory";
    const original = several ? links.get(node.stat.identity) : undefined;
    if (original !== undefined) {
      yield* out.write(encodeHeader({ ...headerOf(node.stat, name), type: "hardlink", linkName: original, size: 0 }));
      continue;
    }
    if (several) links.set(node.stat.identity, name);
    if (node.stat.type === "file") yield* packFile(rootFd, { node, name, out });
    else if (node.stat.type === "directory") {
      yield* out.write(encodeHeader({ ...headerOf(node.stat, name), xattrs: portable(node.xattrs) }));
    } else yield* packSpecial(rootFd, { node, name, out });
    for (const header of rule.after?.(node, name) ?? []) yield* out.write(encodeHeader(header));
  }
  yield* out.write(endOfArchive);
  yield out.take();
}

interface Packed {
  readonly node: TreeNode;
  readonly name: string;
  readonly out: ChunkBuffer;
}

function* packFile(rootFd: number, { node, name, out }: Packed): Generator<Uint8Array> {
  const flags = openFlags.readOnly | openFlags.noFollow | openFlags.nonBlock;
  const fd = tryOpenInRoot(rootFd, node.path, { flags, symlinks: "refuse" });
  if (fd < 0) {
    if (gone.has(-fd)) return;
    throw new SystemError("openat2", -fd, `Cannot read "${node.path}"`);
  }
  try {
    const stat = statFd(fd);
    // A running container may have put something else there; a FIFO or a device must not be read.
    if (stat.type !== "file") return;
    yield* out.write(encodeHeader({ ...headerOf(stat, name), xattrs: portable(readXattrs(fd)) }));
    let left = stat.size;
    while (left > 0) {
      const want = Math.min(left, out.space.length);
      const read = readSync(fd, out.space, 0, want, null);
      // The header's size is a promise: what was cut off meanwhile is zeros, as in tar(1).
      if (read === 0) break;
      out.advance(read);
      left -= read;
      if (out.full) yield out.take();
    }
    yield* out.zeros(left + paddingOf(stat.size));
  } finally {
    closeFd(fd);
  }
}

function* packSpecial(rootFd: number, { node, name, out }: Packed): Generator<Uint8Array> {
  const { parent, base } = splitPath(node.path);
  const flags = openFlags.path | openFlags.directory;
  const parentFd = tryOpenInRoot(rootFd, parent, { flags, symlinks: "refuse" });
  if (parentFd < 0) {
    if (gone.has(-parentFd)) return;
    throw new SystemError("openat2", -parentFd, `Cannot open "${parent}"`);
  }
  try {
    const header = headerOf(node.stat, name);
    if (node.stat.type === "symlink") header.linkName = readLinkAt(parentFd, base);
    header.xattrs = portable(readXattrs(procPath(parentFd, base)));
    yield* out.write(encodeHeader(header));
  } finally {
    closeFd(parentFd);
  }
}

/** The header of a file as it is on disk, without link name and attributes. */
export function headerOf(stat: FileStat, name: string): TarHeader {
  if (stat.type === "socket")
    throw new EngineError("internal", `A socket such as "${name}" has no place in an archive`);
  return tarHeader({
    name,
    type: stat.type,
    mode: stat.mode & 0o7777,
    uid: stat.uid,
    gid: stat.gid,
    size: stat.type === "file" ? stat.size : 0,
    mtimeNs: stat.mtimeNs,
    major: stat.rdevMajor,
    minor: stat.rdevMinor,
  });
}

/** Attributes that mean the same elsewhere: the overlay's own and the labels of this host's security modules stay here. */
function portable(xattrs: ReadonlyMap<string, Uint8Array>): ReadonlyMap<string, Uint8Array> {
  if (xattrs.size === 0) return xattrs;
  return new Map(
    [...xattrs].filter(([name]) => {
      if (/^(trusted\.overlay|user\.overlay|user\.fuseoverlayfs)\./.test(name)) return false;
      return name === "security.capability" || !name.startsWith("security.");
    }),
  );
}
