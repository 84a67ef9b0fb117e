// The layer between image and read-write layer: mount points that every container needs, so that no commit takes them along.
// What Docker makes: moby, daemon/initlayer/setup_unix.go.
import { chmodSync, existsSync, lstatSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isWhiteout, splitPath } from "../archive/index.ts";
import { closeFd, openDirectory, openFlags, removeTreeAt, statAt, tryOpenInRoot } from "../kernel/index.ts";
import { copyAttributes } from "./copy-attributes.ts";
import type { LowerView } from "./lower-view.ts";

/** Text beginning with a slash is a symlink's. */
const entries: readonly (readonly [path: string, kind: "directory" | "file" | `/${string}`])[] = [
  ["dev/pts", "directory"],
  ["dev/shm", "directory"],
  ["proc", "directory"],
  ["sys", "directory"],
  [".dockerenv", "file"],
  ["etc/resolv.conf", "file"],
  ["etc/hosts", "file"],
  ["etc/hostname", "file"],
  ["dev/console", "file"],
  ["etc/mtab", "/proc/mounts"],
];

/**
 * Fills an init layer's diff over an image. A directory is made where the image has none; files are new and empty, whatever
 * the image has there, unless it has a directory; etc/mtab is a symlink.
 */
export function fillInitLayer(diff: string, image: LowerView): void {
  const copied: string[] = [];
  for (const [path, kind] of entries) {
    const present = image.find(path)?.stat.type;
    if (present === "directory") continue;
    makeParents(diff, { path: splitPath(path).parent, image, copied });
    const target = join(diff, path);
    if (kind === "directory") makeDirectory(target);
    else if (kind === "file") {
      writeFileSync(target, "", { mode: 0o755 });
      chmodSync(target, 0o755);
    } else if (!existsSync(target)) symlinkSync(kind, target);
  }
  // Last, since each file made in a directory changed its time.
  for (const path of copied.reverse()) {
    const node = image.find(path);
    if (node) copyAttributes(node, diff, path);
  }
}

function makeParents(diff: string, at: { path: string; image: LowerView; copied: string[] }): void {
  const { path, image, copied } = at;
  if (path === "" || isDirectory(join(diff, path))) return;
  makeParents(diff, { ...at, path: splitPath(path).parent });
  makeDirectory(join(diff, path));
  if (image.find(path)?.stat.type === "directory") copied.push(path);
}

function makeDirectory(path: string): void {
  mkdirSync(path, { recursive: true });
  chmodSync(path, 0o755);
}

function isDirectory(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

/** Paths of the init layer that a read-write layer deleted and the image does not have: they mean nothing to a commit. */
export function initWhiteouts(diff: string, image: LowerView): Set<string> {
  const found = new Set<string>();
  eachInitWhiteout(diff, image, (_parentFd, path) => found.add(path));
  return found;
}

/** Removes the whiteouts that `initWhiteouts` finds. */
export function dropInitWhiteouts(diff: string, image: LowerView): void {
  eachInitWhiteout(diff, image, (parentFd, path) => removeTreeAt(parentFd, splitPath(path).base));
}

/** A container may have put a symlink in place of `dev` or `etc`: it is not followed. */
function eachInitWhiteout(diff: string, image: LowerView, visit: (parentFd: number, path: string) => void): void {
  const rootFd = openDirectory(diff);
  const flags = openFlags.path | openFlags.directory;
  for (const [path] of entries) {
    const { parent, base } = splitPath(path);
    const parentFd = tryOpenInRoot(rootFd, parent, { flags, symlinks: "refuse" });
    if (parentFd < 0) continue;
    const stat = statAt(parentFd, base);
    if (stat && isWhiteout(stat) && !image.find(path)) visit(parentFd, path);
    closeFd(parentFd);
  }
  closeFd(rootFd);
}
