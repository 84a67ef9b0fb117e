import { createHash } from "node:crypto";
import {
  closeFd,
  compareNames,
  openAt,
  openDirectory,
  openFlags,
  openInRoot,
  readDirectory,
  readLinkAt,
  statAt,
  type FileStat,
} from "../kernel/index.ts";
import { readDescriptor } from "./source-tree.ts";

/** What is not the same of one path in two folders. */
export interface FileDifference {
  /** Absolute, from the folders' root. */
  readonly path: string;
  readonly what: "only in the first" | "only in the second" | "type" | "mode" | "owner" | "content" | "time";
}

type Entries = ReadonlyMap<string, readonly [what: FileDifference["what"], value: string][]>;

/** Compares the files of two layers, path by path, sorted. The first thing that differs of a path is told. */
export async function compareFolders(first: string, second: string): Promise<FileDifference[]> {
  const [left, right] = [await entriesOf(first), await entriesOf(second)];
  const differences: FileDifference[] = [];
  for (const path of [...new Set([...left.keys(), ...right.keys()])].toSorted()) {
    const [one, other] = [left.get(path), right.get(path)];
    if (!one || !other) {
      differences.push({ path, what: one ? "only in the first" : "only in the second" });
      continue;
    }
    const found = one.find(([, value], index) => other[index]?.[1] !== value);
    if (found) differences.push({ path, what: found[0] });
  }
  return differences;
}

async function entriesOf(folder: string): Promise<Entries> {
  const entries = new Map<string, [FileDifference["what"], string][]>();
  const rootFd = openDirectory(folder);
  try {
    await collect(rootFd, "", entries);
  } finally {
    closeFd(rootFd);
  }
  return entries;
}

async function collect(
  rootFd: number,
  directory: string,
  entries: Map<string, [FileDifference["what"], string][]>,
): Promise<void> {
  const fd = openInRoot(rootFd, directory || ".", { flags: openFlags.directory, symlinks: "refuse" });
  try {
    for (const name of readDirectory(fd).toSorted(compareNames)) {
      const stat = statAt(fd, name);
      if (!stat) continue;
      const path = `${directory}/${name}`;
      entries.set(path, [
        ["type", stat.type],
        ["mode", String(stat.mode & 0o7777)],
        ["owner", `${stat.uid}:${stat.gid}`],
        ["content", await contentOf(fd, name, stat)],
        ["time", String(stat.mtimeNs)],
      ]);
      if (stat.type === "directory") await collect(rootFd, path, entries);
    }
  } finally {
    closeFd(fd);
  }
}

async function contentOf(directoryFd: number, name: string, stat: FileStat): Promise<string> {
  if (stat.type === "symlink") return readLinkAt(directoryFd, name);
  if (stat.type !== "file") return "";
  const fd = openAt(directoryFd, name, { flags: openFlags.readOnly });
  try {
    const hash = createHash("sha256");
    for await (const chunk of readDescriptor(fd, stat.size)) hash.update(chunk);
    return hash.digest("hex");
  } finally {
    closeFd(fd);
  }
}
