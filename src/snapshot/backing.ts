// The file system that a driver's directories lie on.
import { closeFd, filesystemOf, listsTypes, openDirectory, openFlags, openInRoot } from "../kernel/index.ts";

/** Docker's names of file systems. */
export function backingName(path: string): string {
  const { type } = filesystemOf(path);
  return type === "ext4" ? "extfs" : type;
}

/** Whether its listings tell the types of files (d_type), without which the kernel cannot know a whiteout in one. */
export function supportsTypes(path: string): boolean {
  const rootFd = openDirectory(path);
  const fd = openInRoot(rootFd, ".", { flags: openFlags.directory });
  const told = listsTypes(fd);
  closeFd(fd);
  closeFd(rootFd);
  return told !== false;
}
