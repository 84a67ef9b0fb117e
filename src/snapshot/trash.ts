import { lstatSync, mkdirSync, readdirSync, renameSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { newId } from "../common/index.ts";

/** What is thrown away within this time is deleted by one program: starting it costs more than a container's few files. */
const gatherMs = 100;
const maxTreesAtOnce = 100;

/** Directories that are no longer needed: out of the way at once by a rename, deleted in the background, some at a time. */
export class Trash {
  readonly #directory: string;
  readonly #waiting: string[] = [];
  #work: Promise<void> | undefined;

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
    return this.#work ?? Promise.resolve();
  }

  #deleteLater(path: string): void {
    this.#waiting.push(path);
    this.#work ??= this.#deleteWaiting();
  }

  async #deleteWaiting(): Promise<void> {
    while (this.#waiting.length > 0) {
      await Bun.sleep(gatherMs);
      await deleteTrees(this.#waiting.splice(0, maxTreesAtOnce));
    }
    this.#work = undefined;
  }
}

/**
 * coreutils' rm(1) takes trees of any depth, costs the daemon no memory, runs at the lowest priority and stays out of a mount that
 * was forgotten below. What cannot go now goes at the next start.
 */
async function deleteTrees(paths: readonly string[]): Promise<void> {
  const command = ["nice", "-n", "19", "rm", "-rf", "--one-file-system", "--", ...paths];
  const quiet = { stdin: "ignore", stdout: "ignore", stderr: "ignore" } as const;
  try {
    const child = Bun.spawn(command, quiet);
    child.unref();
    await child.exited;
  } catch {
    for (const path of paths) await rm(path, { recursive: true, force: true }).catch(() => {});
  }
}
