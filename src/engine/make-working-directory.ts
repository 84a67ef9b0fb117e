import { posix } from "node:path";
import { joinPath, resolveInRoot } from "../archive/index.ts";
import { EngineError } from "../common/index.ts";
import { chmodFd, closeFd, mkdirAt, openDirectory, openFlags, tryOpenInRoot } from "../kernel/index.ts";

/**
 * Makes what is missing of a directory in a container's root, by Docker's rules: root's, mode 755, symlinks resolved inside. Throws
 * invalidArgument with Docker's words where a file is in the way.
 */
export function makeWorkingDirectory(root: string, path: string): void {
  const rootFd = openDirectory(root);
  try {
    const resolved = resolveInRoot(rootFd, posix.normalize(path), { follow: true, allowMissing: true });
    let at = "";
    for (const part of resolved.split("/").filter((each) => each !== "")) {
      const parentFd = openBelow(rootFd, at, path);
      try {
        at = joinPath(at, part);
        if (mkdirAt(parentFd, part, 0o755)) settleMode(rootFd, at);
      } finally {
        closeFd(parentFd);
      }
    }
    closeFd(openBelow(rootFd, at, path));
  } finally {
    closeFd(rootFd);
  }
}

function openBelow(rootFd: number, at: string, wanted: string): number {
  const fd = tryOpenInRoot(rootFd, at, { flags: openFlags.path | openFlags.directory, symlinks: "refuse" });
  if (fd < 0) throw new EngineError("invalidArgument", `Cannot mkdir: ${wanted} is not a directory`);
  return fd;
}

/** The daemon's umask must not decide it. */
function settleMode(rootFd: number, path: string): void {
  const fd = tryOpenInRoot(rootFd, path, { flags: openFlags.directory, symlinks: "refuse" });
  if (fd < 0) return;
  chmodFd(fd, 0o755);
  closeFd(fd);
}
