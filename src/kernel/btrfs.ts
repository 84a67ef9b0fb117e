// Subvolumes of btrfs by ioctl_btrfs(2): a directory that is a tree of its own, and can be copied at once.
import { constants } from "node:fs";
import { errnoNumber } from "./errno.ts";
import { SystemError, check, cstring, errno, libc } from "./libc.ts";

const subvolumeCreate = 0x5000940e;
const snapshotDestroy = 0x5000940f;
const snapshotCreateV2 = 0x50009417;
/** struct btrfs_ioctl_vol_args: a descriptor and a name; in the second version flags and room for more come between. */
const argumentBytes = 4096;
const nameAt = 8;
const nameAtV2 = 56;
const nameLimitBytes = 255;

/** Every subvolume's root has this inode number, and nothing else has. */
export const subvolumeInode = 256n;

/** Makes an empty subvolume, 0755 less the umask. Throws `SystemError`; ENOTTY where `parent` is not on btrfs. */
export function createSubvolume(parent: string, name: string): void {
  call(parent, { request: subvolumeCreate, bytes: named(name, nameAt), what: `Cannot make subvolume "${name}"` });
}

/** Makes a writable snapshot of the subvolume at `source`: the same files, shared until either is written. */
export function snapshotSubvolume(source: string, parent: string, name: string): void {
  const fd = openFolder(source);
  try {
    const bytes = named(name, nameAtV2);
    bytes.writeBigInt64LE(BigInt(fd), 0);
    call(parent, { request: snapshotCreateV2, bytes, what: `Cannot take a snapshot of "${source}"` });
  } finally {
    libc.close(fd);
  }
}

/** Removes a subvolume with its files; the kernel frees the space in the background. False: another subvolume is within it. */
export function destroySubvolume(parent: string, name: string): boolean {
  const bytes = named(name, nameAt);
  try {
    call(parent, { request: snapshotDestroy, bytes, what: `Cannot remove subvolume "${parent}/${name}"` });
    return true;
  } catch (error) {
    if (error instanceof SystemError && error.errno === errnoNumber("ENOTEMPTY")) return false;
    throw error;
  }
}

function named(name: string, at: number): Buffer {
  const bytes = Buffer.alloc(argumentBytes);
  const text = Buffer.from(name);
  if (text.length > nameLimitBytes) {
    throw new SystemError("ioctl", errnoNumber("ENAMETOOLONG"), `Cannot use "${name.slice(0, 60)}…" as a subvolume`);
  }
  text.copy(bytes, at);
  return bytes;
}

function openFolder(path: string): number {
  const closeOnExec = 0o2000000;
  const flags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW | closeOnExec;
  return check("open", libc.open(cstring(path), flags, 0), () => `Cannot open directory "${path}"`);
}

function call(parent: string, { request, bytes, what }: { request: number; bytes: Buffer; what: string }): void {
  const fd = openFolder(parent);
  try {
    if (libc.ioctl(fd, request, bytes) !== 0) throw new SystemError("ioctl", errno(), what);
  } finally {
    libc.close(fd);
  }
}
