// Walks a tree in a fixed order: a directory before what it holds, names by their bytes. No symlink is followed below the root.
import {
  closeFd,
  compareNames,
  errnoNumber,
  openFlags,
  readDirectory,
  readXattrs,
  statAt,
  statFd,
  SystemError,
  tryOpenInRoot,
  type FileStat,
} from "../kernel/index.ts";
import { joinPath } from "./member-path.ts";

export interface TreeNode {
  /** From the walk's root; "" is the root itself. */
  readonly path: string;
  readonly stat: FileStat;
  /** A directory's attributes, which its open descriptor gave; other files' are read by whoever opens them. */
  readonly xattrs: ReadonlyMap<string, Uint8Array>;
}

const gone = new Set(["ENOENT", "ENOTDIR", "ELOOP"].map(errnoNumber));
const noXattrs: ReadonlyMap<string, Uint8Array> = new Map();

interface Pending {
  readonly path: string;
  readonly stat: FileStat;
}

/** `skip` leaves a file, or a directory with all below it, out. A file that vanishes during the walk is left out too. */
export function* walkTree(
  rootFd: number,
  top: string,
  options: { skip?: (path: string, stat: FileStat) => boolean; xattrs?: boolean } = {},
): Generator<TreeNode> {
  // A stack of what is still to come, last first: depth costs memory and no descriptors.
  const stack: Pending[] = [{ path: top, stat: rootStat(rootFd, top) }];
  for (let next = stack.pop(); next; next = stack.pop()) {
    const { path, stat } = next;
    if (stat.type !== "directory") {
      yield { path, stat, xattrs: noXattrs };
      continue;
    }
    const fd = tryOpenInRoot(rootFd, path, { flags: openFlags.directory | openFlags.noFollow, symlinks: "refuse" });
    if (fd < 0) {
      if (gone.has(-fd)) continue;
      throw new SystemError("openat2", -fd, `Cannot open directory "${path}"`);
    }
    try {
      yield { path, stat, xattrs: options.xattrs === false ? noXattrs : readXattrs(fd) };
      const names = readDirectory(fd).sort(compareNames);
      for (let index = names.length - 1; index >= 0; index--) {
        const name = names[index] ?? "";
        const childStat = statAt(fd, name);
        const childPath = joinPath(path, name);
        if (childStat && options.skip?.(childPath, childStat) !== true)
          stack.push({ path: childPath, stat: childStat });
      }
    } finally {
      closeFd(fd);
    }
  }
}

function rootStat(rootFd: number, top: string): FileStat {
  const fd = tryOpenInRoot(rootFd, top, { flags: openFlags.path | openFlags.noFollow });
  if (fd < 0) throw new SystemError("openat2", -fd, `Cannot open "${top}"`);
  try {
    return statFd(fd);
  } finally {
    closeFd(fd);
  }
}
