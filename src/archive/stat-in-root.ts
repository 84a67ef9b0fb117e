import { posix } from "node:path";
import { EngineError } from "../common/index.ts";
import { closeFd, openDirectory, openFlags, statFd, tryOpenInRoot, type FileStat } from "../kernel/index.ts";
import { resolveInRoot } from "./resolve-in-root.ts";

/** What Docker's `X-Docker-Container-Path-Stat` carries; the shape of `PathStat` in the engine's contract. */
export interface PathStat {
  readonly name: string;
  readonly size: number;
  /** Go's fs.FileMode bits. */
  readonly mode: number;
  /** RFC 3339 with nanoseconds. */
  readonly mtime: string;
  /** For a symlink the absolute path in the root that it leads to; otherwise "". */
  readonly linkTarget: string;
}

/** lstat of `path` in the tree at `root`; symlinks on the way resolve inside. Throws `notFound`, and `invalidArgument` for a slash after a file. */
export function statInRoot(root: string, path: string): PathStat {
  const rootFd = openDirectory(root);
  try {
    const resolved = resolveInRoot(rootFd, path, { follow: /\/\.?$/.test(path) });
    const fd = tryOpenInRoot(rootFd, resolved, { flags: openFlags.path | openFlags.noFollow });
    if (fd < 0)
      throw new EngineError("notFound", `Cannot find "${path}": no such file or directory`, { data: { path } });
    let stat: FileStat;
    try {
      stat = statFd(fd);
    } finally {
      closeFd(fd);
    }
    if (stat.type !== "directory" && /\/\.?$/.test(path))
      throw new EngineError("invalidArgument", `"${path}" is not a directory`);
    const linked =
      stat.type === "symlink" ? resolveInRoot(rootFd, path, { follow: true, allowMissing: true }) : undefined;
    return {
      name: posix.basename(posix.normalize(`/${path}`)) || "/",
      size: stat.size,
      mode: goFileMode(stat),
      mtime: formatTime(stat.mtimeNs),
      linkTarget: linked === undefined ? "" : `/${linked}`,
    };
  } finally {
    closeFd(rootFd);
  }
}

/** Go's io/fs.FileMode: the nine permission bits, and its own for the rest. */
export function goFileMode(stat: FileStat): number {
  const typeBits: Record<FileStat["type"], number> = {
    file: 0,
    directory: 2 ** 31,
    symlink: 2 ** 27,
    block: 2 ** 26,
    character: 2 ** 26 + 2 ** 21,
    fifo: 2 ** 25,
    socket: 2 ** 24,
  };
  let mode = (stat.mode & 0o777) + typeBits[stat.type];
  if (stat.mode & 0o4000) mode += 2 ** 23;
  if (stat.mode & 0o2000) mode += 2 ** 22;
  if (stat.mode & 0o1000) mode += 2 ** 20;
  return mode;
}

function formatTime(timeNs: bigint): string {
  let milliseconds = timeNs / 1_000_000n;
  let rest = timeNs % 1_000_000_000n;
  if (rest < 0n) {
    rest += 1_000_000_000n;
    milliseconds -= 1n;
  }
  const fraction = String(rest).padStart(9, "0").replace(/0+$/, "");
  return `${new Date(Number(milliseconds)).toISOString().slice(0, 19)}${fraction === "" ? "" : `.${fraction}`}Z`;
}
