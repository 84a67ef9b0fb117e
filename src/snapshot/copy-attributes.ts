import {
  chmodFd,
  chownFd,
  closeFd,
  openDirectory,
  openFlags,
  readXattrs,
  setTimesFd,
  tryOpenInRoot,
  trySetXattr,
} from "../kernel/index.ts";
import type { LowerNode } from "./lower-view.ts";

/**
 * Gives the directory at `path` of the tree at `root` what a copy-up gives it: the lower directory's owner, mode, attributes and
 * time. A path that leads over a symlink is left alone: the archive may have put it there, and it is not the lower directory.
 */
export function copyAttributes(node: LowerNode, root: string, path: string): void {
  const source = node.directories[0];
  if (source === undefined || node.stat.type !== "directory") return;
  const rootFd = openDirectory(root);
  const fd = tryOpenInRoot(rootFd, path, { flags: openFlags.directory | openFlags.noFollow, symlinks: "refuse" });
  try {
    if (fd < 0) return;
    chownFd(fd, node.stat);
    chmodFd(fd, node.stat.mode);
    for (const [name, value] of readXattrs(source)) {
      // A copy is no less merged than what it was copied from.
      if (!/^(trusted\.overlay|user\.overlay|user\.fuseoverlayfs)\./.test(name)) trySetXattr(fd, name, value);
    }
    setTimesFd(fd, node.stat.mtimeNs);
  } finally {
    if (fd >= 0) closeFd(fd);
    closeFd(rootFd);
  }
}
