import { createHash } from "node:crypto";
import { existsSync, mkdirSync } from "node:fs";
import { open, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { isRegistryDigest } from "./server-grammar.ts";
import type { ByteRange, RegistryStorage } from "./storage-contract.ts";

/** Blobs as files: `<folder>/<algorithm>/<first two digits>/<hex>`. The staged files must lie on the same file system. */
export class FolderStorage implements RegistryStorage {
  readonly description: string;

  constructor(private readonly folder: string) {
    this.description = `folder "${folder}"`;
    for (const algorithm of ["sha256", "sha512"]) mkdirSync(join(folder, algorithm), { recursive: true, mode: 0o700 });
  }

  async put(digest: string, stagedPath: string): Promise<void> {
    const { directory, path } = this.#place(digest);
    if (existsSync(path)) {
      await rm(stagedPath, { force: true });
      return;
    }
    if (mkdirSync(directory, { recursive: true, mode: 0o700 }) !== undefined) await sync(join(directory, ".."));
    await sync(stagedPath);
    await rename(stagedPath, path);
    await sync(directory);
  }

  async size(digest: string): Promise<number | undefined> {
    try {
      return (await stat(this.#place(digest).path)).size;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw error;
    }
  }

  open(digest: string, range?: ByteRange): Blob {
    const file = Bun.file(this.#place(digest).path);
    return range ? file.slice(range.start, range.end) : file;
  }

  async remove(digest: string): Promise<void> {
    await rm(this.#place(digest).path, { force: true });
  }

  async *digests(): AsyncGenerator<string> {
    for (const algorithm of ["sha256", "sha512"]) {
      for (const part of await readdir(join(this.folder, algorithm))) {
        for (const hex of await readdir(join(this.folder, algorithm, part))) {
          const digest = `${algorithm}:${hex}`;
          if (isRegistryDigest(digest)) yield digest;
        }
      }
    }
  }

  #place(digest: string): { directory: string; path: string } {
    if (!isRegistryDigest(digest)) throw new Error(`"${digest}" is no digest`);
    const [algorithm = "", hex = ""] = digest.split(":");
    const directory = join(this.folder, algorithm, hex.slice(0, 2));
    return { directory, path: join(directory, hex) };
  }
}

/** A file's bytes, or a directory's names, on the disk. */
async function sync(path: string): Promise<void> {
  await using handle = await open(path, "r");
  await handle.sync();
}

/** Hashes a file without holding it in memory: what was staged before a restart, and what `registry verify` reads again. */
export async function digestOf(
  source: Blob | ReadableStream<Uint8Array>,
  algorithm: "sha256" | "sha512",
): Promise<string> {
  const hash = createHash(algorithm);
  for await (const chunk of source instanceof Blob ? source.stream() : source) hash.update(chunk);
  return `${algorithm}:${hash.digest("hex")}`;
}
