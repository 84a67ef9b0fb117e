import type { Database } from "bun:sqlite";
import { createHash } from "node:crypto";
import { createReadStream, mkdirSync, readdirSync, renameSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Paths } from "../common/index.ts";

/** The blobs' folder and table, for those who look at them from beside the store. */
interface Place {
  readonly paths: Paths;
  readonly db: Database;
}

/** Reads a blob again from disk. Undefined: its bytes are what its name says; else what is wrong. */
export async function checkBlob({ paths, db }: Place, digest: string): Promise<string | undefined> {
  const row = db.query<{ size: number }, [string]>("SELECT size FROM blobs WHERE digest = ?").get(digest);
  const path = pathOf(paths, digest);
  const size = statSync(path, { throwIfNoEntry: false })?.size;
  // Collected meanwhile: nobody misses it.
  if (!row) return undefined;
  if (size === undefined) return "its file is gone";
  if (size !== row.size) return `it has ${size} bytes, and was recorded with ${row.size}`;
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path, { highWaterMark: 1024 * 1024 })) hash.update(chunk as Buffer);
  const found = `sha256:${hash.digest("hex")}`;
  return found === digest ? undefined : `its bytes are "${found}"`;
}

/** Moves a damaged blob's file into `folder`, and forgets its record. */
export function setBlobAside({ paths, db }: Place, digest: string, folder: string): void {
  const path = pathOf(paths, digest);
  if (statSync(path, { throwIfNoEntry: false })) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    renameSync(path, join(folder, digest.slice("sha256:".length)));
  }
  db.run("DELETE FROM blobs WHERE digest = ?", [digest]);
}

/** Files among the blobs that no record names: absolute paths. One may be about to be recorded. */
export function unrecordedBlobs({ paths, db }: Place): string[] {
  const folder = join(paths.content, "blobs", "sha256");
  const recorded = new Set(
    db
      .query<{ digest: string }, []>("SELECT digest FROM blobs")
      .all()
      .map(({ digest }) => digest.slice("sha256:".length)),
  );
  return readdirSync(folder)
    .filter((name) => !recorded.has(name))
    .map((name) => join(folder, name));
}

function pathOf(paths: Paths, digest: string): string {
  return join(paths.content, "blobs", "sha256", digest.slice("sha256:".length));
}
