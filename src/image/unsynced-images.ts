import type { Database } from "bun:sqlite";
import type { ContentStore } from "../content/index.ts";
import { bootId } from "../kernel/index.ts";
import type { Snapshotter } from "../snapshot/index.ts";

const schema = "CREATE TABLE IF NOT EXISTS unsynced_images (id TEXT PRIMARY KEY, boot_id TEXT NOT NULL) WITHOUT ROWID";

/**
 * Images that need not outlive a power cut yet: those between the steps of a build. Their configs and layers wait for one sync. A machine
 * that goes down before it has forgotten them: they are dropped at the next start, before anybody looks them up.
 */
export class UnsyncedImages {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
    db.run(schema);
    this.#dropLost();
  }

  #dropLost(): void {
    const lost = "SELECT id FROM unsynced_images WHERE boot_id <> ?";
    const dropped = [
      `UPDATE images SET parent = '' WHERE parent IN (${lost})`,
      `DELETE FROM image_layers WHERE image_id IN (${lost})`,
      `DELETE FROM images WHERE id IN (${lost})`,
      "DELETE FROM unsynced_images WHERE boot_id <> ?",
    ];
    this.#db.transaction(() => {
      for (const statement of dropped) this.#db.query(statement).run(bootId());
    })();
  }

  /** Runs one transaction that records this image and that does not wait for the disk. */
  record(id: string, write: () => void): void {
    const before = this.#db.query<{ synchronous: number }, []>("PRAGMA synchronous").get()?.synchronous ?? 2;
    this.#db.run("PRAGMA synchronous = NORMAL");
    try {
      this.#db.transaction(() => {
        // One that was lasting before stays so.
        const isKnown = this.#db.query("SELECT 1 FROM images WHERE id = ?").get(id) !== null;
        if (!isKnown) this.#db.query("INSERT OR REPLACE INTO unsynced_images VALUES (?, ?)").run(id, bootId());
        write();
      })();
    } finally {
      this.#db.run(`PRAGMA synchronous = ${before}`);
    }
  }

  /** Resolves once all images and layers that are there now are on disk. Whoever names one lastingly waits for this first. */
  async sync({ content, snapshots }: { content: ContentStore; snapshots: Snapshotter }): Promise<void> {
    const rows = this.#db.query<{ id: string }, []>("SELECT id FROM unsynced_images").all();
    if (rows.length === 0) return snapshots.sync();
    await Promise.all([content.sync(), snapshots.sync()]);
    const forget = this.#db.query("DELETE FROM unsynced_images WHERE id = ?");
    this.#db.transaction(() => {
      for (const { id } of rows) forget.run(id);
    })();
  }
}
