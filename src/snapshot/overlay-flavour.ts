// What shows a stack of directories as one tree: the kernel's overlay, or a program that does the same in user space.
import { opaqueAttribute, isWhiteout, splitPath, walkTree, whiteoutPrefix, type TreeNode } from "../archive/index.ts";
import type { Mount } from "../spec/index.ts";
import { backingName, supportsTypes } from "./backing.ts";
import type { LowerView } from "./lower-view.ts";
import { overlayOptions } from "./overlay2-layout.ts";

/** Directories relative to `workingDirectory`; `lowers` top first. */
export interface OverlayStack {
  readonly lowers: readonly string[];
  readonly upper: string;
  readonly work: string;
  readonly target: string;
  readonly workingDirectory: string;
}

export interface UpperWalk {
  /** What shows below the upper directory. */
  readonly below: LowerView;
  /** Leaves a file, or a directory with all below it, out. */
  readonly skip?: (path: string) => boolean;
}

export interface OverlayFlavour {
  readonly name: "overlay2" | "fuse-overlayfs";
  mount(stack: OverlayStack): Mount;
  /** Whether a diff holds nothing but changes, in the kernel's forms, so that it can become a layer as it is. */
  readonly keepsPlainDiffs: boolean;
  /** The nodes of an upper directory at `rootFd`, mounted or not, in the kernel's forms. */
  walk(rootFd: number, options: UpperWalk): Iterable<TreeNode>;
  /** Lines for `info`. */
  status(root: string): [string, string][];
}

const optionsOf = ({ lowers, upper, work }: OverlayStack): string[] => [
  `lowerdir=${lowers.join(":")}`,
  `upperdir=${upper}`,
  `workdir=${work}`,
];

const walkPlain = (rootFd: number, { skip }: UpperWalk): Iterable<TreeNode> =>
  walkTree(rootFd, "", skip ? { skip: (path) => skip(path) } : {});

export const kernelOverlay: OverlayFlavour = {
  name: "overlay2",
  mount: (stack) => ({
    type: "overlay",
    source: "overlay",
    target: stack.target,
    options: [...optionsOf(stack), ...overlayOptions],
    workingDirectory: stack.workingDirectory,
  }),
  keepsPlainDiffs: true,
  walk: walkPlain,
  status: (root) => [
    ["Backing Filesystem", backingName(root)],
    ["Supports d_type", String(supportsTypes(root))],
    ["Using metacopy", "false"],
    ["Native Overlay Diff", "true"],
    ["userxattr", "false"],
  ],
};

/**
 * `program`: fuse-overlayfs(1)'s absolute path. Without its write-back cache, since a diff is read while it is mounted. It gives the
 * mounts that root makes allow_other, default_permissions and suid by itself.
 */
export function fuseOverlay(program: string): OverlayFlavour {
  return {
    name: "fuse-overlayfs",
    mount: (stack) => ({
      type: "fuse.fuse-overlayfs",
      source: program,
      target: stack.target,
      options: ["dev", "writeback=0", ...optionsOf(stack)],
      workingDirectory: stack.workingDirectory,
    }),
    keepsPlainDiffs: false,
    walk: walkMarked,
    status: (root) => [
      ["Backing Filesystem", backingName(root)],
      ["Supports d_type", String(supportsTypes(root))],
      ["Native Overlay Diff", "false"],
    ],
  };
}

/**
 * fuse-overlayfs marks an opaque directory twice, by the kernel's attribute and by files `.wh.*`, which nobody can make through the
 * mount. It marks every new directory so, and leaves whiteouts where a directory of its own was: neither hides anything.
 */
function* walkMarked(rootFd: number, { below, skip }: UpperWalk): Generator<TreeNode> {
  const isMark = (path: string): boolean => splitPath(path).base.startsWith(whiteoutPrefix);
  for (const node of walkTree(rootFd, "", { skip: (path) => isMark(path) || skip?.(path) === true })) {
    const { path, stat, xattrs } = node;
    const old = below.find(path)?.stat.type;
    if (isWhiteout(stat) && old === undefined) continue;
    if (xattrs.has(opaqueAttribute) && old !== "directory") {
      yield { path, stat, xattrs: new Map([...xattrs].filter(([name]) => name !== opaqueAttribute)) };
    } else yield node;
  }
}
