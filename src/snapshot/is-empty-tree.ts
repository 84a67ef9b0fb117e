import { walkTree } from "../archive/index.ts";
import { closeFd, openDirectory } from "../kernel/index.ts";
import type { LowerView } from "./lower-view.ts";

/** Whether an upper directory changes nothing: it holds nothing but `ignored` paths, and its root is as it is below. */
export async function isEmptyTree(
  diff: string,
  below: LowerView,
  ignored: ReadonlySet<string> = new Set(),
): Promise<boolean> {
  const rootFd = openDirectory(diff);
  try {
    for (const { path, stat } of walkTree(rootFd, "", { skip: (child) => ignored.has(child) })) {
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
