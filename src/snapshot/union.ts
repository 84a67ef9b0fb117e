// Any folders as one, as a container's layers are: the first is written to, the others are only read.
import { mkdirSync, readdirSync, realpathSync, rmSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { EngineError } from "../common/index.ts";
import { lstat, mount, readMounts, unmount, type MountInfo } from "../kernel/index.ts";
import { overlayOptions } from "./overlay2-layout.ts";

/** A mounted union. `branches`: top first; one without a read-write branch takes no writes. */
export interface Union {
  readonly target: string;
  /** Mounted by `mountUnion`; false for containers and whatever else is an overlay. */
  readonly isOurs: boolean;
  readonly branches: readonly { readonly mode: "rw" | "ro"; readonly directory: string }[];
}

/**
 * Mounts the folders `branches`, at least two, at the folder `target`: a name that several have shows as the first has it, and every write goes
 * to the first. The kernel needs a work folder on that one's file system: `.NAME.union` beside it. Paths may be relative.
 * Throws `invalidArgument` for what is no folder or cannot be named in a mount's options, `conflict` for a branch that is written already.
 */
export function mountUnion(options: { branches: readonly string[]; target: string }): void {
  const [rw = "", ...ro] = options.branches.map(realFolder);
  const target = realFolder(options.target);
  for (const path of [rw, ...ro]) requireNameable(path);
  if (new Set([rw, ...ro]).size <= ro.length) {
    throw new EngineError("invalidArgument", `A folder is named twice among ${[rw, ...ro].join(", ")}`);
  }
  const writer = listUnions().find((union) => union.branches.some((one) => one.mode === "rw" && one.directory === rw));
  if (writer) {
    throw new EngineError(
      "conflict",
      `"${rw}" is the read-write branch of "${writer.target}" already: it can be that of one union`,
    );
  }
  if (deviceOf(dirname(rw)) !== deviceOf(rw)) {
    throw new EngineError(
      "invalidArgument",
      `"${rw}" is a file system's root, and the kernel needs a work folder on that file system beside the branch: give a folder within it`,
    );
  }
  const work = makeWorkFolder(rw);
  try {
    const words = [`lowerdir=${ro.join(":")}`, `upperdir=${rw}`, `workdir=${work}`, ...overlayOptions];
    mount({ type: "overlay", source: sourceName, target, options: words });
  } catch (error) {
    rmSync(work, { recursive: true, force: true });
    throw error;
  }
}

/** Unmounts the union at `target`; its branches keep what they have. Throws `notFound` where none of ours is mounted. */
export function unmountUnion(target: string): void {
  const union = unionAt(target);
  if (!union.isOurs) {
    throw new EngineError("conflict", `"${union.target}" was not mounted as a union: leave it to whoever did`);
  }
  unmount(union.target);
  const rw = union.branches.find((one) => one.mode === "rw");
  if (rw) rmSync(workFolder(rw.directory), { recursive: true, force: true });
}

/** The topmost union at `target`. */
export function unionAt(target: string): Union {
  const path = realFolder(target);
  const found = listUnions().findLast((union) => union.target === path);
  if (!found) throw new EngineError("notFound", `No union is mounted at "${path}"`);
  return found;
}

/** Every overlay mount that this process sees, from the kernel's own list. */
export function listUnions(): Union[] {
  return readMounts()
    .filter((one) => one.type === "overlay")
    .map((one) => ({ target: one.target, isOurs: one.source === sourceName, branches: branchesOf(one) }));
}

/** A container's overlay names its layers from the folder two above its mount point. */
function branchesOf({ target, superOptions }: MountInfo): Union["branches"] {
  const values = (...names: string[]): string[] =>
    superOptions
      .filter((option) => names.some((name) => option.startsWith(`${name}=`)))
      .map((option) => unescapeOctal(option.slice(option.indexOf("=") + 1)));
  const place = (path: string): string => resolve(dirname(dirname(target)), path);
  const upper = values("upperdir").map((path) => ({ mode: "rw" as const, directory: place(path) }));
  const lower = values("lowerdir", "lowerdir+").flatMap((list) => list.split(":"));
  return [...upper, ...lower.map((path) => ({ mode: "ro" as const, directory: place(path) }))];
}

function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(parseInt(digits, 8)));
}

const sourceName = "union";
const workFolder = (rw: string): string => join(dirname(rw), `.${basename(rw)}.union`);

/** One that a reboot left has nothing but the kernel's own folder, and goes on; anything else with that name is not ours. */
function makeWorkFolder(rw: string): string {
  const work = workFolder(rw);
  const present = lstat(work);
  if (!present) mkdirSync(work, { mode: 0o700 });
  else if (present.type !== "directory" || readdirSync(work).some((name) => name !== "work")) {
    throw new EngineError(
      "alreadyExists",
      `"${work}" is in the way: the kernel's work folder for "${rw}" has that name`,
    );
  }
  return work;
}

const deviceOf = (path: string): string | undefined => lstat(path)?.identity.split(":")[0];

/** The path without symlinks, as the kernel's list has it. */
function realFolder(path: string): string {
  let real: string;
  try {
    real = realpathSync(path);
  } catch (cause) {
    throw new EngineError("notFound", `"${path}" is not there`, { cause });
  }
  if (lstat(real)?.type === "directory") return real;
  throw new EngineError("invalidArgument", `"${path}" is no folder`);
}

/** Overlay's options are one text: a colon parts layers, a comma options, and a backslash protects either. */
function requireNameable(path: string): void {
  if (!/[:,\\"]/.test(path)) return;
  throw new EngineError("invalidArgument", `"${path}" cannot be a branch: its name holds one of : , \\ "`);
}
