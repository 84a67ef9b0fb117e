import { renameSync, statSync, unlinkSync } from "node:fs";
import { open } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { writeBytes } from "./output.ts";
import { CommandFailure } from "./usage-error.ts";

/**
 * Where `save` and `export` write: standard output when `path` is "", refused when that is a terminal. A file appears
 * under its name only when it is whole.
 */
export async function openArchiveTarget(
  path: string,
  verb: "save" | "export",
): Promise<{ take(source: AsyncIterable<Uint8Array>): Promise<void> }> {
  if (path === "") {
    if (process.stdout.isTTY) {
      throw new CommandFailure("cowardly refusing to save to a terminal. Use the -o flag or redirect");
    }
    return {
      async take(source) {
        for await (const chunk of source) await writeBytes("stdout", chunk);
      },
    };
  }
  checkPath(path, verb);
  return { take: (source) => writeFile(path, source) };
}

function checkPath(path: string, verb: string): void {
  const folder = dirname(path);
  const what = verb === "save" ? "failed to save image" : "failed to export container";
  if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory()) {
    throw new CommandFailure(`${what}: invalid output path: stat ${folder}: no such file or directory`);
  }
  const there = statSync(path, { throwIfNoEntry: false });
  if (there?.isDirectory()) throw new CommandFailure(`${what}: invalid output path: "${path}" must be a regular file`);
}

async function writeFile(path: string, source: AsyncIterable<Uint8Array>): Promise<void> {
  const isPlain = statSync(path, { throwIfNoEntry: false })?.isFile() ?? true;
  // A device or pipe is written itself: renaming a file over it would replace it.
  const written = isPlain ? join(dirname(path), `.tmp-${basename(path)}${process.pid}`) : path;
  const file = await open(written, "w", 0o600);
  try {
    for await (const chunk of source) await file.writeFile(chunk);
    await file.close();
    if (isPlain) renameSync(written, path);
  } catch (thrown) {
    await file.close().catch(() => {});
    if (isPlain) unlinkSync(written);
    throw thrown;
  }
}
