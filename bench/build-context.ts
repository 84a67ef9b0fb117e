import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** The folders that the benchmark of ADDs copies, in all. */
export const addedFolders = { folders: 12, files: 26_000, megabytes: 420 } as const;
const filesPerFolder = 200;

/**
 * Writes `files` files of `bytes` in all below a folder. What is in them are pieces of this machine's own programs, so that the same
 * machine gives the same files and no two of them are equal.
 */
export function writeFiles(folder: string, size: { files: number; bytes: number; seed?: number }): void {
  const corpus = readFileSync(process.execPath);
  const { files, bytes, seed = 0 } = size;
  for (let file = 0; file < files; file++) {
    const directory = join(folder, String(Math.floor(file / filesPerFolder)));
    if (file % filesPerFolder === 0) mkdirSync(directory, { recursive: true });
    const length = Math.floor((bytes / files) * (0.5 + ((file * 37) % 100) / 100));
    const at = (seed * 7_919_113 + file * 104_729) % (corpus.length - length);
    writeFileSync(join(directory, `file${file}`), corpus.subarray(at, at + length));
  }
}

/** Writes a context: a Dockerfile of these lines on the image that all engines have. Answers its folder. */
export function writeContext(folder: string, lines: readonly string[]): string {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "Dockerfile"), `${lines.join("\n")}\n`);
  return folder;
}
