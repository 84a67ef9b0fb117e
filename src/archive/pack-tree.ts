import { posix } from "node:path";
import { closeFd, openDirectory } from "../kernel/index.ts";
import { packNodes } from "./pack-nodes.ts";
import { resolveInRoot } from "./resolve-in-root.ts";
import { walkTree } from "./walk-tree.ts";

export interface PackTreeOptions {
  /** Name of the top entry; the path's base name by default, `.` for the root. "" gives what the directory holds without itself. */
  readonly name?: string;
  /** Pack what a symlink at `path` leads to. A path that ends with a slash or `/.` asks for it too. */
  readonly followLink?: boolean;
  /** Leaves a file or a whole directory out; `relative` counts from the packed directory. */
  readonly exclude?: (relative: string) => boolean;
}

/**
 * The file or directory at `path` of the tree at `root` as a tar stream, as `docker cp` and `docker export` need it. The path is
 * resolved inside the root. Throws `notFound` before the first byte when there is nothing.
 */
export async function* packTree(root: string, path: string, options: PackTreeOptions = {}): AsyncGenerator<Uint8Array> {
  const rootFd = openDirectory(root);
  try {
    const follow = options.followLink === true || /\/\.?$/.test(path);
    const top = resolveInRoot(rootFd, path, { follow });
    const name = options.name ?? defaultName(path);
    const { exclude } = options;
    const relative = (absolute: string): string => (top === "" ? absolute : absolute.slice(top.length + 1));
    const nodes = walkTree(rootFd, top, exclude ? { skip: (absolute) => exclude(relative(absolute)) } : {});
    yield* packNodes(rootFd, nodes, {
      name: (node) => {
        const below = node.path === top ? "" : relative(node.path);
        if (below === "") return name === "" ? undefined : name;
        return name === "" ? below : `${name}/${below}`;
      },
    });
  } finally {
    closeFd(rootFd);
  }
}

function defaultName(path: string): string {
  if (/(^|\/)\.$/.test(path)) return ".";
  const base = posix.basename(posix.normalize(`/${path}`));
  return base === "" ? "." : base;
}
