import {
  chmodFd,
  chownFd,
  closeFd,
  openDirectory,
  openFlags,
  openInRoot,
  readXattrs,
  setTimesFd,
  trySetXattr,
} from "../kernel/index.ts";
import type { LowerNode } from "./lower-view.ts";

/** Gives the directory at `target` what a copy-up gives it: the lower directory's owner, mode, attributes and time. */
export function copyAttributes(node: LowerNode, target: string): void {
  const source = node.directories[0];
  if (source === undefined || node.stat.type !== "directory") return;
  const rootFd = openDirectory(target);
  const fd = openInRoot(rootFd, ".", { flags: openFlags.directory });
  try {
    chownFd(fd, node.stat);
    chmodFd(fd, node.stat.mode);
    for (const [name, value] of readXattrs(source)) {
      // A copy is no less merged than what it was copied from.
      if (!/^(trusted|user)\.overlay\./.test(name)) trySetXattr(fd, name, value);
    }
    setTimesFd(fd, node.stat.mtimeNs);
  } finally {
    closeFd(fd);
    closeFd(rootFd);
  }
}
