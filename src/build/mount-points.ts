import { lstatSync, readdirSync, rmdirSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import type { Snapshotter } from "../snapshot/index.ts";

/**
 * The places below the root, each with its missing parents, deepest first, that no layer has: the runtime makes them to mount there,
 * and they are no work of the command.
 */
export function missingMountPoints(
  snapshots: Snapshotter,
  base: string | undefined,
  targets: readonly string[],
): string[] {
  const folders =
    base === undefined ? [] : snapshots.chain(base).map(({ chainId }) => snapshots.layerDirectory(chainId));
  const isThere = (path: string): boolean =>
    folders.some((folder) => lstatSync(join(folder, path), { throwIfNoEntry: false }) !== undefined);
  const missing = new Set<string>();
  for (const target of targets) {
    const parts = target.split("/").filter(Boolean);
    for (let depth = parts.length; depth > 0; depth--) {
      const path = parts.slice(0, depth).join("/");
      if (isThere(path)) break;
      missing.add(path);
    }
  }
  return [...missing].toSorted((left, right) => right.split("/").length - left.split("/").length);
}

/** Removes those that are still as the runtime made them: empty. */
export function cleanMountPoints(directory: string, missing: readonly string[]): void {
  for (const path of missing) {
    const place = join(directory, path);
    const stat = lstatSync(place, { throwIfNoEntry: false });
    if (stat?.isDirectory() && readdirSync(place).length === 0) rmdirSync(place);
    else if (stat?.isFile() && stat.size === 0) unlinkSync(place);
  }
}
