// What one whole tree changes against another, where the kernel keeps no upper directory that would tell.
import { readSync } from "node:fs";
import { breathe, joinPath, splitPath, walkTree, type TreeNode } from "../archive/index.ts";
import {
  closeFd,
  compareNames,
  lstat,
  openDirectory,
  openFlags,
  procPath,
  readDirectory,
  readLinkAt,
  readXattrs,
  statAt,
  tryOpenInRoot,
  type FileStat,
} from "../kernel/index.ts";
import type { Change } from "./snapshotter.ts";

/** A path that differs. A deleted one has a whiteout's node; `""` is the root. */
export interface Difference {
  readonly kind: Change["Kind"];
  readonly node: TreeNode;
}

export interface Comparison {
  /** Parents before what they hold. */
  readonly differences: Difference[];
  /** The tree's directories by path, for the way to a difference. */
  readonly directories: ReadonlyMap<string, TreeNode>;
}

interface Trees {
  readonly treeFd: number;
  readonly baseFd: number;
  /** A change time from which on a file may have been written since the tree was copied from the base; earlier ones were not. */
  readonly sinceNs: bigint;
}

/**
 * Compares by type, mode, owner, device number, and for files size and time. Where these agree and the inode was touched since the
 * copy, the bytes and attributes themselves decide. A directory's time alone is no change. `base` undefined: nothing is there.
 */
export async function compareTrees(tree: string, base: string | undefined, sinceNs: bigint): Promise<Comparison> {
  const differences: Difference[] = [];
  const directories = new Map<string, TreeNode>();
  const treeFd = openDirectory(tree);
  const baseFd = base === undefined ? -1 : openDirectory(base);
  const trees = { treeFd, baseFd, sinceNs };
  /** Directories in both: only below these has the base anything to say, and no symlink of it is followed. */
  const common = new Set<string>();
  let nodes = 0;
  try {
    for (const node of walkTree(treeFd, "")) {
      if (++nodes % 256 === 0) await breathe();
      const { path, stat } = node;
      if (stat.type === "directory") directories.set(path, node);
      const known = base !== undefined && (path === "" || common.has(splitPath(path).parent));
      const old = known ? lstat(path === "" ? base : `${base}/${path}`) : undefined;
      if (!old) differences.push({ kind: 1, node });
      else if (!isSame(trees, { path, stat, old })) differences.push({ kind: 0, node });
      if (stat.type !== "directory" || old?.type !== "directory") continue;
      common.add(path);
      for (const name of missingNames(trees, path)) differences.push({ kind: 2, node: deleted(joinPath(path, name)) });
    }
  } finally {
    closeFd(treeFd);
    if (baseFd >= 0) closeFd(baseFd);
  }
  return { differences, directories };
}

/** The differences with the unchanged directories on the way to them and the root: what an archive of them lists. */
export function withParents({ differences, directories }: Comparison): TreeNode[] {
  const nodes = new Map<string, TreeNode>();
  const add = (path: string): void => {
    if (nodes.has(path)) return;
    if (path !== "") add(splitPath(path).parent);
    const directory = directories.get(path);
    if (directory) nodes.set(path, directory);
  };
  for (const { node } of differences) {
    if (node.path !== "") add(splitPath(node.path).parent);
    nodes.set(node.path, node);
  }
  return [...nodes.values()];
}

const whiteoutStat: FileStat = {
  mode: 0o020000,
  type: "character",
  links: 1,
  uid: 0,
  gid: 0,
  size: 0,
  blocks: 0,
  mtimeNs: 0n,
  ctimeNs: 0n,
  identity: "",
  rdevMajor: 0,
  rdevMinor: 0,
};

const deleted = (path: string): TreeNode => ({ path, stat: whiteoutStat, xattrs: new Map() });

/** Names that the base's directory has and the tree's has not. */
function missingNames({ treeFd, baseFd }: Trees, path: string): string[] {
  const flags = openFlags.directory | openFlags.noFollow;
  const here = tryOpenInRoot(treeFd, path, { flags, symlinks: "refuse" });
  const there = tryOpenInRoot(baseFd, path, { flags, symlinks: "refuse" });
  try {
    if (here < 0 || there < 0) return [];
    return readDirectory(there)
      .filter((name) => !statAt(here, name))
      .sort(compareNames);
  } finally {
    if (here >= 0) closeFd(here);
    if (there >= 0) closeFd(there);
  }
}

function isSame(trees: Trees, { path, stat, old }: { path: string; stat: FileStat; old: FileStat }): boolean {
  if (stat.mode !== old.mode || stat.uid !== old.uid || stat.gid !== old.gid) return false;
  if (stat.rdevMajor !== old.rdevMajor || stat.rdevMinor !== old.rdevMinor) return false;
  const isDirectory = stat.type === "directory";
  if (!isDirectory && (stat.size !== old.size || stat.mtimeNs !== old.mtimeNs)) return false;
  if (stat.ctimeNs < trees.sinceNs) return true;
  if (!sameXattrs(trees, path)) return false;
  if (stat.type === "symlink") return linkText(trees.treeFd, path) === linkText(trees.baseFd, path);
  return stat.type !== "file" || stat.size === 0 || sameBytes(trees, path);
}

function linkText(rootFd: number, path: string): string | undefined {
  return inParent(rootFd, path, (parentFd, base) => (statAt(parentFd, base) ? readLinkAt(parentFd, base) : undefined));
}

function sameXattrs({ treeFd, baseFd }: Trees, path: string): boolean {
  const [ours, theirs] = [treeFd, baseFd].map((rootFd) =>
    inParent(rootFd, path, (parentFd, base) => {
      if (!statAt(parentFd, base)) return "";
      const found = [...readXattrs(procPath(parentFd, base))].map(([name, value]) => [
        name,
        Buffer.from(value).toString("hex"),
      ]);
      return JSON.stringify(found.sort(([a = ""], [b = ""]) => compareNames(a, b)));
    }),
  );
  return ours === theirs;
}

function inParent<Result>(
  rootFd: number,
  path: string,
  work: (parentFd: number, base: string) => Result,
): Result | undefined {
  const { parent, base } = splitPath(path);
  const flags = openFlags.path | openFlags.directory;
  const parentFd = tryOpenInRoot(rootFd, parent, { flags, symlinks: "refuse" });
  if (parentFd < 0) return undefined;
  try {
    return work(parentFd, base === "" ? "." : base);
  } finally {
    closeFd(parentFd);
  }
}

const blockBytes = 256 * 1024;
const block = Buffer.alloc(blockBytes);
const otherBlock = Buffer.alloc(blockBytes);

/** A file that cannot be opened, or shrinks meanwhile, differs. */
function sameBytes({ treeFd, baseFd }: Trees, path: string): boolean {
  const flags = openFlags.readOnly | openFlags.noFollow | openFlags.nonBlock;
  const here = tryOpenInRoot(treeFd, path, { flags, symlinks: "refuse" });
  const there = tryOpenInRoot(baseFd, path, { flags, symlinks: "refuse" });
  try {
    if (here < 0 || there < 0) return false;
    for (;;) {
      const read = readSync(here, block);
      if (readSync(there, otherBlock) !== read) return false;
      if (read === 0) return true;
      if (block.compare(otherBlock, 0, read, 0, read) !== 0) return false;
    }
  } finally {
    if (here >= 0) closeFd(here);
    if (there >= 0) closeFd(there);
  }
}
