import { closeSync, fstatSync, readSync } from "node:fs";
import { EngineError } from "../common/index.ts";
import {
  SystemError,
  closeFd,
  errnoNumber,
  openDirectory,
  openFlags,
  readLinkAt,
  readXattr,
  statAt,
  tryOpenAt,
  tryOpenInRoot,
} from "../kernel/index.ts";

/** A root to look into: mounted at a path, or as the directories of its overlay layers, top first. */
export type RootView = string | readonly string[];

const maxLinks = 40;
const opaqueAttributes = ["trusted.overlay.opaque", "user.overlay.opaque"];

/**
 * The text of a file inside a root, as a process in that root would read it: links lead nowhere outside. Empty when there is
 * none, or when it is no regular file. Throws resourceExhausted beyond `maxBytes`.
 */
export function readRootFile(root: RootView, path: string, maxBytes: number): string {
  const descriptor = typeof root === "string" ? openMounted(root, path) : openLayered(root, path);
  if (descriptor === undefined) return "";
  try {
    const about = fstatSync(descriptor);
    if (!about.isFile()) return "";
    if (about.size > maxBytes) {
      throw new EngineError(
        "resourceExhausted",
        `"${path}" of the container has ${about.size} bytes, more than ${maxBytes}`,
      );
    }
    const bytes = Buffer.alloc(about.size);
    let length = 0;
    while (length < bytes.length) {
      const count = readSync(descriptor, bytes, length, bytes.length - length, length);
      if (count === 0) break;
      length += count;
    }
    return bytes.toString("utf8", 0, length);
  } finally {
    closeSync(descriptor);
  }
}

/** Never waits for the other end of a fifo that an image put there. */
const readFlags = openFlags.readOnly | openFlags.nonBlock;

function openMounted(root: string, path: string): number | undefined {
  const directory = openDirectory(root);
  try {
    return presentOrThrow(tryOpenInRoot(directory, path, { flags: readFlags }), path);
  } finally {
    closeFd(directory);
  }
}

function presentOrThrow(result: number, path: string): number | undefined {
  if (result >= 0) return result;
  const absent = ["ENOENT", "ENOTDIR", "ELOOP", "ENXIO"].map(errnoNumber);
  if (absent.includes(-result)) return undefined;
  throw new SystemError("open", -result, `Cannot open "${path}" of the container`);
}

/** A directory of the merged tree: the same directory in one or several layers, top first, as descriptors. */
type MergedDirectory = readonly number[];

/** Walks the layers as overlayfs would merge them: names of upper layers win, whiteouts and opaque directories hide what is below. */
function openLayered(layers: readonly string[], path: string): number | undefined {
  const opened: number[] = [];
  const keep = (descriptor: number) => {
    opened.push(descriptor);
    return descriptor;
  };
  try {
    const root = layers.map((layer) => keep(openDirectory(layer)));
    return walk(root, { path, keep });
  } finally {
    for (const descriptor of opened) closeFd(descriptor);
  }
}

function walk(
  root: MergedDirectory,
  { path, keep }: { path: string; keep: (descriptor: number) => number },
): number | undefined {
  const parents: MergedDirectory[] = [root];
  const parts = path.split("/");
  for (let links = 0; parts.length > 0;) {
    const name = parts.shift() ?? "";
    const here = parents.at(-1) ?? root;
    if (name === "" || name === ".") continue;
    if (name === "..") {
      if (parents.length > 1) parents.pop();
      continue;
    }
    const found = lookUp(here, { name, keep });
    if (found === undefined) return undefined;
    if (found.kind === "directory") parents.push(found.layers);
    else if (found.kind === "link") {
      if (++links > maxLinks) return undefined;
      if (found.text.startsWith("/")) parents.splice(1);
      parts.unshift(...found.text.split("/"));
    } else {
      const isLast = parts.every((part) => part === "" || part === ".");
      return isLast ? presentOrThrow(tryOpenAt(found.layer, name, { flags: readFlags }), path) : undefined;
    }
  }
  return undefined;
}

type Found =
  | { readonly kind: "directory"; readonly layers: MergedDirectory }
  | { readonly kind: "link"; readonly text: string }
  | { readonly kind: "file"; readonly layer: number };

function lookUp(
  directory: MergedDirectory,
  { name, keep }: { name: string; keep: (descriptor: number) => number },
): Found | undefined {
  const merged: number[] = [];
  for (const layer of directory) {
    const about = statAt(layer, name);
    if (!about) continue;
    if (about.type !== "directory") {
      // Below a directory, anything else is hidden by it; so is everything by a whiteout.
      if (merged.length > 0 || (about.type === "character" && about.rdevMajor === 0 && about.rdevMinor === 0)) break;
      return about.type === "symlink" ? { kind: "link", text: readLinkAt(layer, name) } : { kind: "file", layer };
    }
    const opened = tryOpenAt(layer, name, { flags: openFlags.readOnly | openFlags.directory });
    if (opened < 0) throw new SystemError("openat", -opened, `Cannot open "${name}" of a layer`);
    merged.push(keep(opened));
    if (isOpaque(opened)) break;
  }
  return merged.length > 0 ? { kind: "directory", layers: merged } : undefined;
}

function isOpaque(directory: number): boolean {
  return opaqueAttributes.some((name) => readXattr(directory, name)?.[0] === 0x79);
}
