import {
  closeFd,
  compareNames,
  openAt,
  openDirectory,
  openInRoot,
  openFlags,
  readDirectory,
  setTimesAt,
  setTimesFd,
  statAt,
  statFd,
} from "../kernel/index.ts";

/** Sets the times of a folder and of all below it that are later than `epoch` (seconds since 1970) to it. */
export function clampTimes(directory: string, epoch: number): void {
  const limitNs = BigInt(epoch) * 1_000_000_000n;
  const path = openDirectory(directory);
  const fd = openInRoot(path, ".", { flags: openFlags.directory });
  closeFd(path);
  try {
    clampBelow(fd, limitNs);
    if (statFd(fd).mtimeNs > limitNs) setTimesFd(fd, limitNs);
  } finally {
    closeFd(fd);
  }
}

function clampBelow(fd: number, limitNs: bigint): void {
  for (const name of readDirectory(fd).toSorted(compareNames)) {
    const stat = statAt(fd, name);
    if (stat?.type === "directory") {
      const below = openAt(fd, name, { flags: openFlags.directory });
      try {
        clampBelow(below, limitNs);
      } finally {
        closeFd(below);
      }
    }
    if (stat && stat.mtimeNs > limitNs) setTimesAt(fd, name, limitNs);
  }
}
