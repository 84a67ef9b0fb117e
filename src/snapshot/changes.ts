import { breathe, isOpaque, isWhiteout, joinPath, splitPath, type TreeNode } from "../archive/index.ts";
import { closeFd, compareNames, lstat, openDirectory, readXattr } from "../kernel/index.ts";
import type { LowerView } from "./lower-view.ts";
import type { OverlayFlavour } from "./overlay-flavour.ts";
import type { Change } from "./snapshotter.ts";

/**
 * What an upper directory changes against the layers below: moby's rules (pkg/archive/changes.go). A copy that equals its original
 * is no change; a directory counts when its own mode or owner changed or when something in it did.
 */
export async function listChanges(
  diff: string,
  { below, walk }: { readonly below: LowerView; readonly walk: OverlayFlavour["walk"] },
): Promise<Change[]> {
  const found = new Map<string, Change["Kind"]>();
  const rootFd = openDirectory(diff);
  const hiding = new Set<string>();
  let nodes = 0;
  try {
    for (const node of walk(rootFd, { below })) {
      if (++nodes % 256 === 0) await breathe();
      const kind = node.path === "" ? undefined : changeOf(diff, node, below);
      if (kind !== undefined) note(found, node.path, kind);
      if (node.stat.type !== "directory") continue;
      // Below an opaque directory nothing of the lower layers shows either, and the kernel marks only the topmost.
      const inherited = node.path !== "" && hiding.has(splitPath(node.path).parent);
      if (!inherited && !isOpaque(`${diff}/${node.path}`)) continue;
      hiding.add(node.path);
      noteHidden(found, { diff, node, below });
    }
  } finally {
    closeFd(rootFd);
  }
  return [...found]
    .sort(([a], [b]) => compareNames(a.replaceAll("/", "\u0001"), b.replaceAll("/", "\u0001")))
    .map(([path, Kind]) => ({ Path: `/${path}`, Kind }));
}

function changeOf(diff: string, { path, stat }: TreeNode, below: LowerView): Change["Kind"] | undefined {
  const old = below.find(path);
  if (isWhiteout(stat)) return old ? 2 : undefined;
  if (!old) return 1;
  const was = old.stat;
  const attributesDiffer = stat.mode !== was.mode || stat.uid !== was.uid || stat.gid !== was.gid;
  const deviceDiffers = stat.rdevMajor !== was.rdevMajor || stat.rdevMinor !== was.rdevMinor;
  const contentDiffers = stat.type !== "directory" && (stat.size !== was.size || stat.mtimeNs !== was.mtimeNs);
  if (attributesDiffer || deviceDiffers || contentDiffers) return 0;
  return capability(`${diff}/${path}`) === capability(old.directories[0] ?? "") ? undefined : 0;
}

function capability(path: string): string {
  return Buffer.from(readXattr(path, "security.capability") ?? []).toString("hex");
}

/** Records a change and, as modified, the directories on the way to it. */
function note(found: Map<string, Change["Kind"]>, path: string, kind: Change["Kind"]): void {
  found.set(path, kind);
  for (let { parent } = splitPath(path); parent !== "" && !found.has(parent); { parent } = splitPath(parent)) {
    found.set(parent, 0);
  }
}

/** An opaque directory deletes what was below it, except for what it has itself. */
function noteHidden(found: Map<string, Change["Kind"]>, at: { diff: string; node: TreeNode; below: LowerView }): void {
  const { path } = at.node;
  for (const name of at.below.list(path)) {
    const child = joinPath(path, name);
    if (!lstat(`${at.diff}/${child}`)) note(found, child, 2);
  }
}
