// What a stack of layer directories shows together, without mounting it: overlayfs.rst's rules, for layers that hold still.
import { isOpaque, isWhiteout, splitPath, joinPath } from "../archive/index.ts";
import { closeFd, lstat, openFlags, openInRoot, openDirectory, readDirectory, type FileStat } from "../kernel/index.ts";

/** A file that shows. `directories`: for a directory every layer's own, top first; else the one that the file is in. */
export interface LowerNode {
  readonly stat: FileStat;
  readonly directories: readonly string[];
}

export class LowerView {
  readonly #layers: readonly string[];
  readonly #nodes = new Map<string, LowerNode | undefined>();

  /** Diff directories, top first. None is a valid stack in which nothing exists. */
  constructor(layers: readonly string[]) {
    this.#layers = layers;
  }

  /** `path` has no leading slash; "" is the root. No symlink is followed. */
  find(path: string): LowerNode | undefined {
    if (this.#nodes.has(path)) return this.#nodes.get(path);
    const node = path === "" ? this.#root() : this.#child(path);
    this.#nodes.set(path, node);
    return node;
  }

  /** Names in a directory that show; empty for anything else. */
  list(path: string): string[] {
    const node = this.find(path);
    if (node?.stat.type !== "directory") return [];
    const names = new Set<string>();
    for (const directory of node.directories) for (const name of namesIn(directory)) names.add(name);
    return [...names].filter((name) => this.find(joinPath(path, name)) !== undefined);
  }

  #root(): LowerNode | undefined {
    return this.#merge(this.#layers);
  }

  #child(path: string): LowerNode | undefined {
    const { parent, base } = splitPath(path);
    const node = this.find(parent);
    if (node?.stat.type !== "directory") return undefined;
    return this.#merge(node.directories.map((directory) => `${directory}/${base}`));
  }

  /** The candidates, top first, down to the first that hides what is below it. */
  #merge(candidates: readonly string[]): LowerNode | undefined {
    let top: FileStat | undefined;
    const directories: string[] = [];
    for (const path of candidates) {
      const stat = lstat(path);
      if (!stat) continue;
      if (stat.type !== "directory") {
        if (!top && !isWhiteout(stat)) return { stat, directories: [path] };
        break;
      }
      top ??= stat;
      directories.push(path);
      if (isOpaque(path)) break;
    }
    return top && { stat: top, directories };
  }
}

function namesIn(directory: string): string[] {
  const rootFd = openDirectory(directory);
  try {
    const fd = openInRoot(rootFd, ".", { flags: openFlags.directory });
    try {
      return readDirectory(fd);
    } finally {
      closeFd(fd);
    }
  } finally {
    closeFd(rootFd);
  }
}
