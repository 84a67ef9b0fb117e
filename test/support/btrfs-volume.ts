import { mkdirSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { newScratch } from "./scratch.ts";

/** A btrfs of 200 MB in a file, mounted by a loop device that goes with its mount. */
export function newBtrfsVolume(): AsyncDisposable & { readonly path: string } {
  const scratch = newScratch();
  const file = join(scratch.path, "disk");
  const path = join(scratch.path, "m");
  mkdirSync(path);
  writeFileSync(file, "");
  truncateSync(file, 200 * 1024 * 1024);
  for (const command of [
    ["mkfs.btrfs", "-q", file],
    ["mount", "-o", "loop", file, path],
  ]) {
    const { exitCode, stderr } = Bun.spawnSync(command, {
      env: { ...process.env, PATH: `${process.env.PATH ?? ""}:/usr/sbin:/sbin` },
    });
    if (exitCode !== 0) throw new Error(`${command.join(" ")} ended with ${exitCode}: ${stderr.toString()}`);
  }
  return { path, [Symbol.asyncDispose]: () => scratch[Symbol.asyncDispose]() };
}
