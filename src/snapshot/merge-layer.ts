// A layer's own directory, whiteouts in the kernel's form, into a whole tree: what an overlay mount of the two would show.
import { basename, dirname } from "node:path";
import { isOpaque, isWhiteout, splitPath, walkTree, type TreeNode } from "../archive/index.ts";
import {
  closeFd,
  mkdirAt,
  openDirectory,
  openFlags,
  openInRoot,
  readDirectory,
  removeTreeAt,
  renameAt,
  setTimesFd,
  statAt,
} from "../kernel/index.ts";
import { copyAttributes } from "./copy-attributes.ts";

/**
 * Moves everything from `diff` into `tree`, both at rest and on one file system; `diff` may lie in the tree's root, and is removed.
 * `implied`: directories that the layer does not speak of; where the tree has them they keep owner, mode, attributes and time.
 */
export function mergeLayer(diff: string, tree: string, implied: ReadonlySet<string>): void {
  const diffFd = openDirectory(diff);
  const treeFd = openDirectory(tree);
  /** Last first: each file put into a directory changes its time. */
  const settle: (() => void)[] = [];
  let rootTime = statAt(treeFd, ".")?.mtimeNs ?? 0n;
  try {
    for (const node of walkTree(diffFd, "")) {
      if (node.path === "" && !implied.has("")) rootTime = node.stat.mtimeNs;
      if (node.stat.type === "directory") settle.push(mergeDirectory({ diff, tree, treeFd, implied }, node));
      else moveNode(diffFd, treeFd, node);
    }
    for (const finish of settle.reverse()) finish();
    const parentFd = openDirectory(dirname(diff));
    removeTreeAt(parentFd, basename(diff));
    closeFd(parentFd);
    setTime(treeFd, "", rootTime);
  } finally {
    closeFd(diffFd);
    closeFd(treeFd);
  }
}

const folder = openFlags.path | openFlags.directory;

/** Makes the directory, and gives back what to do once everything is in it. */
function mergeDirectory(
  at: { diff: string; tree: string; treeFd: number; implied: ReadonlySet<string> },
  { path, stat }: TreeNode,
): () => void {
  const { diff, tree, treeFd } = at;
  const source = path === "" ? diff : `${diff}/${path}`;
  const own = { stat, directories: [source] };
  const { parent, base } = splitPath(path);
  const parentFd = openInRoot(treeFd, parent, { flags: folder, symlinks: "refuse" });
  try {
    const present = statAt(parentFd, path === "" ? "." : base);
    if (present && present.type !== "directory") removeTreeAt(parentFd, base);
    if (present?.type !== "directory") {
      mkdirAt(parentFd, base, 0o755);
      return () => copyAttributes(own, tree, path);
    }
    if (isOpaque(source)) emptyDirectory(treeFd, path, basename(diff));
    if (!at.implied.has(path)) return () => copyAttributes(own, tree, path);
    return () => setTime(treeFd, path, present.mtimeNs);
  } finally {
    closeFd(parentFd);
  }
}

function setTime(treeFd: number, path: string, mtimeNs: bigint): void {
  const fd = openInRoot(treeFd, path, { flags: openFlags.directory, symlinks: "refuse" });
  try {
    setTimesFd(fd, mtimeNs);
  } finally {
    closeFd(fd);
  }
}

function emptyDirectory(treeFd: number, path: string, except: string): void {
  const fd = openInRoot(treeFd, path, { flags: openFlags.directory, symlinks: "refuse" });
  try {
    for (const name of readDirectory(fd)) if (path !== "" || name !== except) removeTreeAt(fd, name);
  } finally {
    closeFd(fd);
  }
}

function moveNode(diffFd: number, treeFd: number, { path, stat }: TreeNode): void {
  const { parent, base } = splitPath(path);
  const from = openInRoot(diffFd, parent, { flags: folder, symlinks: "refuse" });
  const to = openInRoot(treeFd, parent, { flags: folder, symlinks: "refuse" });
  try {
    removeTreeAt(to, base);
    if (!isWhiteout(stat)) renameAt(from, base, to, base);
  } finally {
    closeFd(from);
    closeFd(to);
  }
}
