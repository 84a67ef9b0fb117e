import { closeFd, openDirectory } from "../kernel/index.ts";
import type { OverlayFlavour, UpperWalk } from "./overlay-flavour.ts";

/** Whether an upper directory changes nothing: it holds nothing but what the walk skips, and its root is as it is below. */
export async function isEmptyTree(
  diff: string,
  options: UpperWalk & { readonly walk: OverlayFlavour["walk"] },
): Promise<boolean> {
  const { below, walk } = options;
  const rootFd = openDirectory(diff);
  try {
    for (const { path, stat } of walk(rootFd, options)) {
      if (path !== "") return false;
      const root = below.find("")?.stat;
      const plain = root ?? { mode: 0o40755, uid: 0, gid: 0 };
      if (stat.mode !== plain.mode || stat.uid !== plain.uid || stat.gid !== plain.gid) return false;
    }
    return true;
  } finally {
    closeFd(rootFd);
  }
}
