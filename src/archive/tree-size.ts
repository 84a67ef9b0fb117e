import { closeFd, openDirectory } from "../kernel/index.ts";
import { breathe } from "./breathe.ts";
import { walkTree } from "./walk-tree.ts";

/** Bytes of a tree's files and symlinks by their length; names of one file count once, directories nothing (as Docker counts). */
export async function treeSize(directory: string): Promise<number> {
  const rootFd = openDirectory(directory);
  const seen = new Set<string>();
  let total = 0;
  let nodes = 0;
  try {
    for (const { stat } of walkTree(rootFd, "", { xattrs: false })) {
      if (++nodes % 256 === 0) await breathe();
      if (stat.type === "directory" || stat.size === 0) continue;
      if (stat.links > 1) {
        if (seen.has(stat.identity)) continue;
        seen.add(stat.identity);
      }
      total += stat.size;
    }
  } finally {
    closeFd(rootFd);
  }
  return total;
}
