import { posix } from "node:path";
import { CommandFailure } from "./usage-error.ts";

/** One side of `cp`: a path on this machine, `-`, or a path in a container. */
export interface CopySide {
  readonly container: string | undefined;
  readonly path: string;
}

/** `CONTAINER:PATH`, a local path (which `./a:b` and `/a:b` are), or `-`. */
export function parseCopySide(text: string): CopySide {
  if (text === "") throw new CommandFailure("must specify at least one container source");
  const colon = text.indexOf(":");
  const local = text.startsWith("/") || text.startsWith(".") || colon < 0 || text === "-";
  if (local) return { container: undefined, path: text };
  if (colon === 0) return { container: undefined, path: text };
  return { container: text.slice(0, colon), path: text.slice(colon + 1) };
}

export interface CopyTarget {
  readonly path: string;
  readonly exists: boolean;
  readonly isDirectory: boolean;
}

/**
 * Where an archive is unpacked so that `cp SOURCE TARGET` does what people know from cp(1), and what its top entry must be
 * called there: docker's rules ("docker cp", Extended description). Throws CommandFailure where they refuse.
 */
export function planCopy(
  source: { path: string; isDirectory: boolean },
  target: CopyTarget,
): { into: string; name: string } {
  const sourceName = copyName(source.path);
  const wantsDirectory = /\/\.?$/.test(target.path);
  if (target.exists && target.isDirectory) return { into: target.path, name: sourceName };
  if (target.exists && source.isDirectory) throw new CommandFailure("cannot copy directory");
  if (target.exists && wantsDirectory) throw new CommandFailure("not a directory");
  if (!target.exists && wantsDirectory && !source.isDirectory) throw new CommandFailure("no such directory");
  const clean = posix.normalize(target.path).replace(/(?<=.)\/$/, "");
  return { into: posix.dirname(clean), name: posix.basename(clean) };
}

/** What the engine and we call the top entry of an archive of that path: `.` for the content of a directory (`dir/.`). */
export function copyName(path: string): string {
  if (/(^|\/)\.$/.test(path)) return ".";
  return posix.basename(posix.normalize(path)) || "/";
}
