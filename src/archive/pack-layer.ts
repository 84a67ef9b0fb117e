import { EngineError } from "../common/index.ts";
import { closeFd, openDirectory } from "../kernel/index.ts";
import { packNodes } from "./pack-nodes.ts";
import { splitPath } from "./member-path.ts";
import { tarHeader, type TarHeader } from "./tar-header.ts";
import { walkTree, type TreeNode } from "./walk-tree.ts";
import { isWhiteout, opaqueAttribute, opaqueName, whiteoutPrefix } from "./whiteout.ts";

/**
 * A layer directory as a layer archive: sorted, whiteouts as `.wh.x`, opaque directories with `.wh..wh..opq`, hard links, devices
 * and attributes kept. The same directory gives the same bytes, whose sha256 is the layer's diffID. The root is listed only
 * when it is not 0755 root:root, which is what a reader assumes. With `reusesMemory` a chunk is valid until the next. Throws `invalidArgument` for a file that only looks like a whiteout.
 */
export async function* packLayer(
  diffDirectory: string,
  options: { skip?: (path: string) => boolean; reusesMemory?: boolean } = {},
): AsyncGenerator<Uint8Array> {
  const rootFd = openDirectory(diffDirectory);
  try {
    const { skip, ...memory } = options;
    const nodes = walkTree(rootFd, "", skip ? { skip: (path) => skip(path) } : {});
    yield* packLayerNodes(rootFd, nodes, memory);
  } finally {
    closeFd(rootFd);
  }
}

/** As `packLayer`, of these nodes of the tree at `rootFd`: parents first, and a character device 0:0 for what is deleted. */
export function packLayerNodes(
  rootFd: number,
  nodes: Iterable<TreeNode>,
  options: { reusesMemory?: boolean } = {},
): AsyncGenerator<Uint8Array> {
  return packNodes(rootFd, nodes, { name: layerName, instead: whiteoutEntry, after: opaqueEntry, ...options });
}

function layerName({ path, stat, xattrs }: TreeNode): string | undefined {
  if (path === "") {
    const plain = (stat.mode & 0o7777) === 0o755 && stat.uid === 0 && stat.gid === 0;
    return plain && !xattrs.has(opaqueAttribute) ? undefined : ".";
  }
  if (splitPath(path).base.startsWith(whiteoutPrefix)) {
    throw new EngineError(
      "invalidArgument",
      `Cannot pack "${path}": in a layer archive a name that starts with ${whiteoutPrefix} deletes a file`,
    );
  }
  return path;
}

function whiteoutEntry({ path, stat }: TreeNode): TarHeader[] | undefined {
  if (!isWhiteout(stat)) return undefined;
  const { parent, base } = splitPath(path);
  // The kernel lets whiteouts share one inode, so that their times and links mean nothing.
  return [
    tarHeader({ name: `${parent === "" ? "" : `${parent}/`}${whiteoutPrefix}${base}`, type: "file", mode: 0o600 }),
  ];
}

function opaqueEntry({ stat, xattrs }: TreeNode, name: string): TarHeader[] {
  if (stat.type !== "directory" || xattrs.get(opaqueAttribute)?.[0] !== 0x79) return [];
  return [tarHeader({ name: name === "." ? opaqueName : `${name}/${opaqueName}`, type: "file", mode: 0o600 })];
}
