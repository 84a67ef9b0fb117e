// Whole trees on disk, one for every layer and snapshot: how they are made, copied and removed is all that vfs and btrfs differ in.
import { chmodSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { walkTree } from "../archive/index.ts";
import { EngineError } from "../common/index.ts";
import {
  closeFd,
  createSubvolume,
  destroySubvolume,
  lstat,
  openDirectory,
  snapshotSubvolume,
  subvolumeInode,
} from "../kernel/index.ts";
import { backingName } from "./backing.ts";

/** The tree of a directory is at `<directory>/root`. */
export const treeName = "root";

export interface TreeStore {
  readonly name: string;
  /** Makes an empty tree, 0755 root:root. */
  create(directory: string): void;
  /** Makes a tree with everything that another has: owners, modes, times, attributes, hard links, holes. */
  copy(from: string, directory: string): Promise<void>;
  /** Removes the tree if a mere rename and deletion of its directory would not do. Idempotent. */
  release(directory: string): void;
  /** Lines for `info`. */
  status(root: string): [string, string][];
}

/** Whole copies, by cp(1), which shares the blocks where the file system has reflinks (FICLONE, ioctl_ficlonerange(2)). */
export const vfsTrees: TreeStore = {
  name: "vfs",
  create: (directory) => makeEmpty(directory),
  async copy(from, directory) {
    const tree = join(directory, treeName);
    const command = ["cp", "-a", "--reflink=auto", "--no-target-directory", "--", join(from, treeName), tree];
    const run = Bun.spawn(command, {
      stdin: "ignore",
      stdout: "ignore",
      stderr: "pipe",
      env: { ...process.env, LC_ALL: "C" },
    });
    const [said, status] = await Promise.all([new Response(run.stderr).text(), run.exited]);
    if (status === 0) return;
    const full = said.includes("No space left") || said.includes("quota exceeded");
    throw new EngineError(
      full ? "resourceExhausted" : "internal",
      `Cannot copy the tree "${from}": ${said.trim().split("\n").at(-1) ?? `cp ended with ${status}`}`,
    );
  },
  release: () => {},
  status: (root) => [["Backing Filesystem", backingName(root)]],
};

/** A subvolume for each tree; a copy is a snapshot, which takes no time and no space. */
export const btrfsTrees: TreeStore = {
  name: "btrfs",
  create(directory) {
    createSubvolume(directory, treeName);
    chmodSync(join(directory, treeName), 0o755);
  },
  copy: async (from, directory) => snapshotSubvolume(join(from, treeName), directory, treeName),
  release: (directory) => destroyWithNested(directory, treeName),
  status: (root) => [["Backing Filesystem", backingName(root)]],
};

function makeEmpty(directory: string): void {
  mkdirSync(join(directory, treeName));
  chmodSync(join(directory, treeName), 0o755);
}

/** A container may have made subvolumes of its own, within which there may be more. */
function destroyWithNested(parent: string, name: string): void {
  const path = join(parent, name);
  if (!isSubvolume(path)) return;
  if (destroySubvolume(parent, name)) return;
  for (const nested of subvolumesWithin(path))
    destroySubvolume(join(path, nested, ".."), nested.split("/").at(-1) ?? "");
  if (destroySubvolume(parent, name)) return;
  throw new EngineError("conflict", `Cannot remove subvolume "${path}": others are still within it`);
}

/** Deepest first. */
function subvolumesWithin(path: string): string[] {
  const found: string[] = [];
  const rootFd = openDirectory(path);
  try {
    for (const node of walkTree(rootFd, "", { xattrs: false })) {
      if (node.path !== "" && node.stat.type === "directory" && node.stat.identity.endsWith(`:${subvolumeInode}`)) {
        found.push(node.path);
      }
    }
  } finally {
    closeFd(rootFd);
  }
  return found.reverse();
}

function isSubvolume(path: string): boolean {
  const stat = lstat(path);
  return stat?.type === "directory" && stat.identity.endsWith(`:${subvolumeInode}`);
}
