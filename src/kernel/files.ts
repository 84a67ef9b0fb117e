// Files by descriptor: a parent is opened once, inside its root, and everything after is an *at call with a base name.
import { EngineError } from "../common/index.ts";
import { errnoNumber } from "./errno.ts";
import { SystemError, errno, libc, ptr, syscall } from "./libc.ts";
import { bytesToPath, pathToBytes } from "./path-bytes.ts";

/** open(2)'s flags on x86-64 and arm64, where they agree; `directory` and `noFollow` are the architecture's. */
const arm = process.arch === "arm64";
export const openFlags = {
  readOnly: 0,
  writeOnly: 1,
  readWrite: 2,
  create: 0o100,
  exclusive: 0o200,
  truncate: 0o1000,
  nonBlock: 0o4000,
  directory: arm ? 0o40000 : 0o200000,
  noFollow: arm ? 0o100000 : 0o400000,
  closeOnExec: 0o2000000,
  path: 0o10000000,
} as const;

const atSymlinkNoFollow = 0x100;
const atRemoveDirectory = 0x200;
const atEmptyPath = 0x1000;
const openat2Number = 437;
const resolve = { noMagicLinks: 2, noSymlinks: 4, beneath: 8, inRoot: 16 } as const;

// Paths of a call are copied to buffers that live for ever, so that no call allocates and none can be collected early.
const firstPath = Buffer.alloc(8192);
const secondPath = Buffer.alloc(8192);
const firstPathAt = ptr(firstPath);
const how = new BigUint64Array(3);
const howAt = ptr(how);
const statBuffer = Buffer.alloc(256);
const times = new BigInt64Array(4);
const linkBuffer = Buffer.alloc(4097);

function fill(buffer: Buffer, path: string): Buffer {
  const bytes = path.length < 2000 && path.isWellFormed() && !path.includes("\0") ? undefined : pathToBytes(path);
  if (bytes && bytes.length >= buffer.length)
    throw new SystemError("path", errnoNumber("ENAMETOOLONG"), `Cannot use "${path.slice(0, 60)}…"`);
  const length = bytes ? (buffer.set(bytes), bytes.length) : buffer.write(path, "utf8");
  buffer[length] = 0;
  return buffer;
}

function failed(call: string, number: number, what: string): SystemError {
  return new SystemError(call, number, what);
}

/** What statx(2) tells of one inode. Sizes in bytes, times in nanoseconds since 1970, `mode` with its type bits. */
export interface FileStat {
  readonly mode: number;
  readonly type: "file" | "directory" | "symlink" | "character" | "block" | "fifo" | "socket";
  readonly links: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly blocks: number;
  readonly mtimeNs: bigint;
  /** When the inode itself was last changed in any way; nobody can set it. */
  readonly ctimeNs: bigint;
  /** `device:inode`, which tells whether two names are one file. */
  readonly identity: string;
  readonly rdevMajor: number;
  readonly rdevMinor: number;
}

const types: Record<number, FileStat["type"]> = {
  0o010000: "fifo",
  0o020000: "character",
  0o040000: "directory",
  0o060000: "block",
  0o100000: "file",
  0o120000: "symlink",
  0o140000: "socket",
};

function parseStat(b: Buffer): FileStat {
  const mode = b.readUInt16LE(28);
  const seconds = b.readBigInt64LE(112);
  return {
    mode,
    type: types[mode & 0o170000] ?? "file",
    links: b.readUInt32LE(16),
    uid: b.readUInt32LE(20),
    gid: b.readUInt32LE(24),
    size: Number(b.readBigUInt64LE(40)),
    blocks: Number(b.readBigUInt64LE(48)),
    mtimeNs: seconds * 1_000_000_000n + BigInt(b.readUInt32LE(120)),
    ctimeNs: b.readBigInt64LE(96) * 1_000_000_000n + BigInt(b.readUInt32LE(104)),
    identity: `${b.readUInt32LE(136)}.${b.readUInt32LE(140)}:${b.readBigUInt64LE(32)}`,
    rdevMajor: b.readUInt32LE(128),
    rdevMinor: b.readUInt32LE(132),
  };
}

const statBasic = 0x7ff;

/** lstat(2) of `name` in an open directory; undefined when there is none. `name` must be a base name for untrusted trees. */
export function statAt(directoryFd: number, name: string): FileStat | undefined {
  const result = libc.statx(directoryFd, fill(firstPath, name), atSymlinkNoFollow, statBasic, statBuffer);
  if (result === 0) return parseStat(statBuffer);
  const number = errno();
  if (number === errnoNumber("ENOENT") || number === errnoNumber("ENOTDIR")) return undefined;
  throw failed("statx", number, `Cannot look at "${name}"`);
}

/** fstat(2), which works for O_PATH descriptors too. */
export function statFd(fd: number): FileStat {
  if (libc.statx(fd, fill(firstPath, ""), atEmptyPath | atSymlinkNoFollow, statBasic, statBuffer) !== 0) {
    throw failed("statx", errno(), `Cannot look at descriptor ${fd}`);
  }
  return parseStat(statBuffer);
}

/** lstat(2) of a trusted absolute path; undefined when there is none. */
export function lstat(path: string): FileStat | undefined {
  return statAt(-100, path);
}

const attributeMountRoot = 0x2000n;

/** Whether something is mounted at exactly this trusted path; false for a missing one. statx(2), Linux 5.8. */
export function isMountPoint(path: string): boolean {
  if (libc.statx(-100, fill(firstPath, path), atSymlinkNoFollow, statBasic, statBuffer) === 0) {
    return (statBuffer.readBigUInt64LE(8) & attributeMountRoot) !== 0n;
  }
  const number = errno();
  if (number === errnoNumber("ENOENT") || number === errnoNumber("ENOTDIR")) return false;
  throw failed("statx", number, `Cannot look at "${path}"`);
}

export interface OpenOptions {
  readonly flags: number;
  /** For `create`: permission bits, less the process's umask. */
  readonly mode?: number;
  /** `follow`: symlinks resolve inside the root (the default). `refuse`: a symlink anywhere on the way is ELOOP. */
  readonly symlinks?: "follow" | "refuse";
}

/**
 * openat2(2) with RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS: `path`, its `..`, absolute names and absolute symlinks mean what
 * they would in a chroot at `rootFd`. Returns a close-on-exec descriptor. Throws `SystemError`.
 */
export function openInRoot(rootFd: number, path: string, options: OpenOptions): number {
  const fd = tryOpenInRoot(rootFd, path, options);
  if (fd < 0) throw failed("openat2", -fd, `Cannot open "${path}"`);
  return fd;
}

/** As `openInRoot`, but a refusal is returned as `-errno`. */
export function tryOpenInRoot(rootFd: number, path: string, options: OpenOptions): number {
  fill(firstPath, path === "" ? "." : path);
  how[0] = BigInt(options.flags | openFlags.closeOnExec);
  how[1] = options.flags & openFlags.create ? BigInt((options.mode ?? 0o600) & 0o7777) : 0n;
  how[2] = BigInt(resolve.inRoot | resolve.noMagicLinks | (options.symlinks === "refuse" ? resolve.noSymlinks : 0));
  // The kernel answers EAGAIN when a rename elsewhere raced with a `..`: openat2(2) says to try again.
  for (let attempt = 0; ; attempt++) {
    const fd = syscall(openat2Number, rootFd, firstPathAt, howAt, 24);
    if (fd >= 0) return fd;
    const number = errno();
    if (number !== errnoNumber("EAGAIN") || attempt >= 100) return -number;
  }
}

/** An O_PATH descriptor of a trusted directory, to be the root of `openInRoot`. */
export function openDirectory(path: string): number {
  const flags = openFlags.path | openFlags.directory | openFlags.closeOnExec;
  const fd = libc.openat(-100, fill(firstPath, path), flags, 0);
  if (fd < 0) throw failed("openat", errno(), `Cannot open directory "${path}"`);
  return fd;
}

/** openat(2) of a base name, never through a symlink. Returns `-errno` on refusal. */
export function tryOpenAt(directoryFd: number, name: string, options: OpenOptions): number {
  const flags = options.flags | openFlags.noFollow | openFlags.closeOnExec;
  const fd = libc.openat(directoryFd, fill(firstPath, name), flags, options.mode ?? 0o600);
  return fd < 0 ? -errno() : fd;
}

export function openAt(directoryFd: number, name: string, options: OpenOptions): number {
  const fd = tryOpenAt(directoryFd, name, options);
  if (fd < 0) throw failed("openat", -fd, `Cannot open "${name}"`);
  return fd;
}

export function closeFd(fd: number): void {
  libc.close(fd);
}

/** Makes a directory; false when something has that name already. */
export function mkdirAt(directoryFd: number, name: string, mode: number): boolean {
  if (libc.mkdirat(directoryFd, fill(firstPath, name), mode) === 0) return true;
  const number = errno();
  if (number === errnoNumber("EEXIST")) return false;
  throw failed("mkdirat", number, `Cannot make directory "${name}"`);
}

export interface NodeOptions {
  readonly type: "character" | "block" | "fifo";
  readonly mode: number;
  readonly major: number;
  readonly minor: number;
}

/** mknodat(2). The device number is glibc's `makedev`. */
export function mknodAt(directoryFd: number, name: string, node: NodeOptions): void {
  const bits = { character: 0o020000, block: 0o060000, fifo: 0o010000 }[node.type];
  const major = BigInt(node.major);
  const minor = BigInt(node.minor);
  const device = (minor & 0xffn) | ((major & 0xfffn) << 8n) | ((minor & ~0xffn) << 12n) | ((major & ~0xfffn) << 32n);
  if (libc.mknodat(directoryFd, fill(firstPath, name), bits | (node.mode & 0o7777), device) !== 0) {
    throw failed("mknodat", errno(), `Cannot make ${node.type} device "${name}" (${node.major}:${node.minor})`);
  }
}

/** linkat(2) that does not follow a final symlink. */
export function linkAt(fromFd: number, from: string, toFd: number, to: string): void {
  if (libc.linkat(fromFd, fill(firstPath, from), toFd, fill(secondPath, to), 0) !== 0) {
    throw failed("linkat", errno(), `Cannot link "${to}" to "${from}"`);
  }
}

export function symlinkAt(text: string, directoryFd: number, name: string): void {
  if (libc.symlinkat(fill(firstPath, text), directoryFd, fill(secondPath, name)) !== 0) {
    throw failed("symlinkat", errno(), `Cannot make symlink "${name}"`);
  }
}

export function readLinkAt(directoryFd: number, name: string): string {
  const length = Number(libc.readlinkat(directoryFd, fill(firstPath, name), linkBuffer, 4096));
  if (length < 0) throw failed("readlinkat", errno(), `Cannot read link "${name}"`);
  return bytesToPath(linkBuffer.subarray(0, length));
}

export function renameAt(fromFd: number, from: string, toFd: number, to: string): void {
  if (libc.renameat(fromFd, fill(firstPath, from), toFd, fill(secondPath, to)) !== 0) {
    throw failed("renameat", errno(), `Cannot rename "${from}" to "${to}"`);
  }
}

/** Removes a non-directory, or with `directory` an empty directory. Returns 0 or `errno`. */
export function tryUnlinkAt(directoryFd: number, name: string, options: { directory: boolean }): number {
  const flags = options.directory ? atRemoveDirectory : 0;
  return libc.unlinkat(directoryFd, fill(firstPath, name), flags) === 0 ? 0 : errno();
}

const listingBuffer = Buffer.alloc(64 * 1024);

/** Names in a directory opened for reading (not O_PATH), without `.` and `..`, in no order. getdents64(2). */
export function readDirectory(fd: number): string[] {
  const names: string[] = [];
  for (;;) {
    const length = Number(libc.getdents64(fd, listingBuffer, listingBuffer.length));
    if (length < 0) throw failed("getdents64", errno(), `Cannot list descriptor ${fd}`);
    if (length === 0) return names;
    for (let at = 0; at < length;) {
      const recordLength = listingBuffer.readUInt16LE(at + 16);
      const end = listingBuffer.indexOf(0, at + 19);
      const name = bytesToPath(listingBuffer.subarray(at + 19, end));
      if (name !== "." && name !== "..") names.push(name);
      at += recordLength;
    }
  }
}

/** Whether the file system tells types where it lists names (`d_type`); undefined for an empty directory. */
export function listsTypes(fd: number): boolean | undefined {
  const length = Number(libc.getdents64(fd, listingBuffer, listingBuffer.length));
  for (let at = 0; at < length; at += listingBuffer.readUInt16LE(at + 16)) {
    // `.` and `..` have a type also where nothing else has.
    if (listingBuffer[at + 19] !== 0x2e) return listingBuffer[at + 18] !== 0;
  }
  return undefined;
}

/** Removes whatever has this name, with everything below a directory. Never follows a symlink. */
export function removeTreeAt(directoryFd: number, name: string): void {
  const number = tryUnlinkAt(directoryFd, name, { directory: false });
  if (number === 0 || number === errnoNumber("ENOENT")) return;
  if (number !== errnoNumber("EISDIR") && number !== errnoNumber("EPERM")) {
    throw failed("unlinkat", number, `Cannot remove "${name}"`);
  }
  const fd = openAt(directoryFd, name, { flags: openFlags.directory });
  try {
    for (const child of readDirectory(fd)) removeTreeAt(fd, child);
  } finally {
    closeFd(fd);
  }
  const last = tryUnlinkAt(directoryFd, name, { directory: true });
  if (last !== 0) throw failed("unlinkat", last, `Cannot remove directory "${name}"`);
}

/** A path of /proc that names an entry of an open directory, for calls that have no *at form. The entry is not followed. */
export function procPath(directoryFd: number, name: string): string {
  return `/proc/self/fd/${directoryFd}/${name}`;
}

/** Owner of an entry that is not followed. */
export function chownAt(directoryFd: number, name: string, owner: { uid: number; gid: number }): void {
  if (libc.fchownat(directoryFd, fill(firstPath, name), owner.uid | 0, owner.gid | 0, atSymlinkNoFollow) !== 0) {
    throw failed("fchownat", errno(), `Cannot give "${name}" to ${owner.uid}:${owner.gid}`);
  }
}

export function chownFd(fd: number, owner: { uid: number; gid: number }): void {
  if (libc.fchown(fd, owner.uid | 0, owner.gid | 0) !== 0) {
    throw failed("fchown", errno(), `Cannot change an owner to ${owner.uid}:${owner.gid}`);
  }
}

export function chmodFd(fd: number, mode: number): void {
  if (libc.fchmod(fd, mode & 0o7777) !== 0) throw failed("fchmod", errno(), `Cannot set mode ${mode.toString(8)}`);
}

/** Mode of an entry that must not be a symlink; a special file cannot be opened for fchmod without waking its driver. */
export function chmodAt(directoryFd: number, name: string, mode: number): void {
  const fd = openAt(directoryFd, name, { flags: openFlags.path });
  try {
    if (statFd(fd).type === "symlink") throw new EngineError("conflict", `"${name}" turned into a symlink`);
    if (libc.chmod(fill(firstPath, `/proc/self/fd/${fd}`), mode & 0o7777) !== 0) {
      throw failed("chmod", errno(), `Cannot set mode ${mode.toString(8)} on "${name}"`);
    }
  } finally {
    closeFd(fd);
  }
}

function fillTimes(mtimeNs: bigint): BigInt64Array {
  let seconds = mtimeNs / 1_000_000_000n;
  let rest = mtimeNs % 1_000_000_000n;
  if (rest < 0n) {
    seconds -= 1n;
    rest += 1_000_000_000n;
  }
  times[0] = times[2] = seconds;
  times[1] = times[3] = rest;
  return times;
}

/** Access and modification time of an entry, to the nanosecond; a symlink's own. */
export function setTimesAt(directoryFd: number, name: string, mtimeNs: bigint): void {
  if (libc.utimensat(directoryFd, fill(firstPath, name), fillTimes(mtimeNs), atSymlinkNoFollow) !== 0) {
    throw failed("utimensat", errno(), `Cannot set the time of "${name}"`);
  }
}

export function setTimesFd(fd: number, mtimeNs: bigint): void {
  if (libc.futimens(fd, fillTimes(mtimeNs)) !== 0) throw failed("futimens", errno(), "Cannot set a file's time");
}

/** Sets the length; a longer one reads as zeros (a hole). */
export function truncateFd(fd: number, size: number): void {
  if (libc.ftruncate(fd, size) !== 0) throw failed("ftruncate", errno(), `Cannot set a length of ${size} bytes`);
}
