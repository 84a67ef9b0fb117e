import type { Database } from "bun:sqlite";

/**
 * Which image a step made, by the step's content key; and digests of files in images, by image and path, for COPY --from.
 * A row may name an image that is gone: whoever looks it up must look for the image too.
 */
export class BuildCache {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
    db.run(`CREATE TABLE IF NOT EXISTS build_steps (
      key TEXT PRIMARY KEY, image_id TEXT NOT NULL, created_at INTEGER NOT NULL) WITHOUT ROWID`);
    db.run(`CREATE TABLE IF NOT EXISTS build_path_digests (
      image_id TEXT NOT NULL, path TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (image_id, path)) WITHOUT ROWID`);
  }

  imageOf(key: string): string | undefined {
    return this.#db.query<{ image_id: string }, [string]>("SELECT image_id FROM build_steps WHERE key = ?").get(key)
      ?.image_id;
  }

  /** The newest image of a key wins, as in Docker. */
  record(key: string, imageId: string): void {
    this.#db
      .query("INSERT OR REPLACE INTO build_steps (key, image_id, created_at) VALUES (?, ?, ?)")
      .run(key, imageId, Date.now());
  }

  /** Every image that a step made. */
  imageIds(): Set<string> {
    const rows = this.#db.query<{ image_id: string }, []>("SELECT image_id FROM build_steps").all();
    return new Set(rows.map((row) => row.image_id));
  }

  pathDigest(imageId: string, path: string): string | undefined {
    return this.#db
      .query<{ digest: string }, [string, string]>(
        "SELECT digest FROM build_path_digests WHERE image_id = ? AND path = ?",
      )
      .get(imageId, path)?.digest;
  }

  recordPathDigest(imageId: string, source: { path: string; digest: string }): void {
    this.#db
      .query("INSERT OR REPLACE INTO build_path_digests (image_id, path, digest) VALUES (?, ?, ?)")
      .run(imageId, source.path, source.digest);
  }

  /** Forgets steps: of images that are gone, or all. Returns the keys. The images themselves are the image store's. */
  forget(isAlive: (imageId: string) => boolean): string[] {
    const rows = this.#db.query<{ key: string; image_id: string }, []>("SELECT key, image_id FROM build_steps").all();
    const dead = rows.filter((row) => !isAlive(row.image_id));
    const images = this.#db.query<{ image_id: string }, []>("SELECT DISTINCT image_id FROM build_path_digests").all();
    this.#db.transaction(() => {
      for (const { key } of dead) this.#db.query("DELETE FROM build_steps WHERE key = ?").run(key);
      for (const { image_id } of images) {
        if (!isAlive(image_id)) this.#db.query("DELETE FROM build_path_digests WHERE image_id = ?").run(image_id);
      }
    })();
    return dead.map((row) => row.key);
  }
}
