import { mkdirSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { newScratch } from "./scratch.ts";

export interface LoopVolume extends AsyncDisposable {
  /** Where it is mounted. */
  readonly path: string;
}

/** A file system in a file, by these words of mkfs, mounted by a loop device that goes with its mount. */
export function newLoopVolume(mkfs: readonly string[], sizeMebibytes: number): LoopVolume {
  const scratch = newScratch();
  const file = join(scratch.path, "disk");
  const path = join(scratch.path, "m");
  mkdirSync(path);
  writeFileSync(file, "");
  truncateSync(file, sizeMebibytes * 1024 * 1024);
  for (const command of [
    [...mkfs, file],
    ["mount", "-o", "loop", file, path],
  ]) {
    const { exitCode, stderr } = Bun.spawnSync(command, {
      env: { ...process.env, PATH: `${process.env.PATH ?? ""}:/usr/sbin:/sbin` },
    });
    if (exitCode !== 0) throw new Error(`${command.join(" ")} ended with ${exitCode}: ${stderr.toString()}`);
  }
  return { path, [Symbol.asyncDispose]: () => scratch[Symbol.asyncDispose]() };
}
