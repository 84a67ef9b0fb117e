// COPY --parents: sources keep the folders on their way.
import { posix } from "node:path";
import { closeFd, openFlags, openInRoot, statFd, type FileStat } from "../kernel/index.ts";
import type { CopyAction } from "./operation.ts";
import type { Source, SourceTree } from "./source-tree.ts";
import type { Component } from "./work-context.ts";

/** A folder of the source that the copy makes again. */
interface Way {
  /** In the source. */
  readonly path: string;
  /** Below the destination. */
  readonly kept: string;
  readonly stat: FileStat;
}

/** Outermost first; a source that is a folder is the last of its own. Of a word with `/./`, only what stands behind it. */
export function waysOf(
  { sources }: CopyAction,
  { path, type }: Pick<Source, "path" | "type">,
  tree: SourceTree,
): Way[] {
  const kept = keptPath(sources, path);
  const folder = type === "directory" ? kept : posix.dirname(kept);
  const names = folder.split("/").filter((name) => name !== "" && name !== ".");
  const before = path === "." ? "" : path.slice(0, path.length - kept.length);
  return names.map((_, index) => {
    const below = names.slice(0, index + 1).join("/");
    return { path: `${before}${below}`, kept: below, stat: statFolder(tree, `${before}${below}`) };
  });
}

/** Where the contents of a folder go, or a file by its own name. */
export function parentsDestination(
  { sources }: CopyAction,
  { path, type }: Pick<Source, "path" | "type">,
  destination: string,
): string {
  const kept = keptPath(sources, path);
  const place = posix.join(destination, type === "directory" ? kept : posix.dirname(kept));
  return type === "directory" ? place : `${place}/`;
}

/** What a key has of the folders on the way: they are made with their modes and owners. */
export function wayComponents(action: CopyAction, sources: readonly Source[], tree: SourceTree): Component[] {
  const found = new Map<string, string>();
  for (const source of sources) {
    for (const { path, stat } of waysOf(action, source, tree)) {
      found.set(`mode and owner of the folder ${path}`, `${(stat.mode & 0o7777).toString(8)} ${stat.uid}:${stat.gid}`);
    }
  }
  return [...found];
}

function keptPath(words: readonly string[], path: string): string {
  const pivots = words.flatMap((word) => {
    const at = word.indexOf("/./");
    return at < 0 ? [] : [posix.normalize(word.slice(0, at).replace(/^\/+/, "") || ".")];
  });
  const pivot = pivots.find((one) => one === "." || path === one || path.startsWith(`${one}/`));
  return pivot === undefined || pivot === "." ? path : path.slice(pivot.length + 1);
}

function statFolder(tree: SourceTree, path: string): FileStat {
  const fd = openInRoot(tree.rootFd, path, { flags: openFlags.directory });
  try {
    return statFd(fd);
  } finally {
    closeFd(fd);
  }
}
