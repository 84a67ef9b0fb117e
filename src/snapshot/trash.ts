import { lstatSync, mkdirSync, readdirSync, renameSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { newId } from "../common/index.ts";

/** Directories that are no longer needed: out of the way at once by a rename, deleted in the background, one at a time. */
export class Trash {
  readonly #directory: string;
  #work: Promise<void> = Promise.resolve();

  /** What an earlier run left is deleted too. */
  constructor(directory: string) {
    this.#directory = directory;
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    for (const name of readdirSync(directory)) this.#deleteLater(join(directory, name));
  }

  /** A missing path is no error. The directory must be on the trash's file system. */
  add(path: string): void {
    if (!lstatSync(path, { throwIfNoEntry: false })) return;
    const target = join(this.#directory, newId());
    renameSync(path, target);
    this.#deleteLater(target);
  }

  /** Resolves once everything added so far is deleted. */
  settled(): Promise<void> {
    return this.#work;
  }

  #deleteLater(path: string): void {
    this.#work = this.#work.then(() => deleteTree(path));
  }
}

/**
 * coreutils' rm(1) takes trees of any depth, costs the daemon no memory, runs at the lowest priority and stays out of a mount that
 * was forgotten below. What cannot go now goes at the next start.
 */
async function deleteTree(path: string): Promise<void> {
  const command = ["nice", "-n", "19", "rm", "-rf", "--one-file-system", "--", path];
  const quiet = { stdin: "ignore", stdout: "ignore", stderr: "ignore" } as const;
  try {
    const child = Bun.spawn(command, quiet);
    child.unref();
    await child.exited;
  } catch {
    await rm(path, { recursive: true, force: true }).catch(() => {});
  }
}
