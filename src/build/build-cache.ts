import type { Database } from "bun:sqlite";
import { KeptDigests } from "./kept-digests.ts";

/** What an operation made, by its content key. */
export interface CacheRecord {
  readonly key: string;
  readonly kind: string;
  /** The operation's name, for people. */
  readonly description: string;
  /** chainID of the top layer; "" where there is none. */
  readonly top: string;
  /** Bytes of what this operation added. */
  readonly sizeBytes: number;
  readonly createdMs: number;
  readonly usedMs: number;
  readonly uses: number;
  readonly containerId: string;
}

interface Row {
  readonly key: string;
  readonly kind: string;
  readonly description: string;
  readonly top: string;
  readonly size_bytes: number;
  readonly created_ms: number;
  readonly used_ms: number;
  readonly uses: number;
  readonly container_id: string;
}

const schema = [
  `CREATE TABLE IF NOT EXISTS build_records (
    key TEXT PRIMARY KEY, kind TEXT NOT NULL, description TEXT NOT NULL, top TEXT NOT NULL, size_bytes INTEGER NOT NULL,
    created_ms INTEGER NOT NULL, used_ms INTEGER NOT NULL, uses INTEGER NOT NULL, container_id TEXT NOT NULL) WITHOUT ROWID`,
  `CREATE TABLE IF NOT EXISTS build_steps (
    key TEXT PRIMARY KEY, image_id TEXT NOT NULL, created_at INTEGER NOT NULL) WITHOUT ROWID`,
  `CREATE TABLE IF NOT EXISTS build_path_digests (
    image_id TEXT NOT NULL, path TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (image_id, path)) WITHOUT ROWID`,
];

/**
 * What builds remember: layers by an operation's content key, images by the step that named them, and digests of files in
 * layers. A record keeps its layers from being collected for as long as it is here. What another names may be gone: whoever looks
 * something up must look for the layer or the image too.
 */
export class BuildCache {
  readonly #db: Database;
  readonly kept = new KeptDigests();
  readonly #used = new Map<string, { usedMs: number; uses: number }>();

  constructor(db: Database) {
    this.#db = db;
    for (const statement of schema) db.run(statement);
  }

  find(key: string): CacheRecord | undefined {
    const row = this.#db.query<Row, [string]>("SELECT * FROM build_records WHERE key = ?").get(key);
    return row ? toRecord(row) : undefined;
  }

  records(): CacheRecord[] {
    return this.#db.query<Row, []>("SELECT * FROM build_records").all().map(toRecord);
  }

  /** The newest result of a key wins. */
  put(record: CacheRecord): void {
    const { key, kind, description, top, sizeBytes, createdMs, usedMs, uses, containerId } = record;
    this.#db
      .query("INSERT OR REPLACE INTO build_records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")
      .run(key, kind, description, top, sizeBytes, createdMs, usedMs, uses, containerId);
  }

  /** Notes a use; written by `flush`, since a build whose steps are all cached should write once. */
  use(key: string): void {
    const uses = (this.#used.get(key)?.uses ?? 0) + 1;
    this.#used.set(key, { usedMs: Date.now(), uses });
  }

  flush(): void {
    if (this.#used.size === 0) return;
    const update = this.#db.query("UPDATE build_records SET used_ms = ?, uses = uses + ? WHERE key = ?");
    this.#db.transaction(() => {
      for (const [key, { usedMs, uses }] of this.#used) update.run(usedMs, uses, key);
    })();
    this.#used.clear();
  }

  forget(keys: readonly string[]): void {
    const remove = this.#db.query("DELETE FROM build_records WHERE key = ?");
    this.#db.transaction(() => {
      for (const key of keys) remove.run(key);
    })();
  }

  /** Of all that records' operations added; an image may have the same. */
  sizeBytes(): number {
    const row = this.#db
      .query<{ total: number | null }, []>("SELECT sum(size_bytes) AS total FROM build_records")
      .get();
    return row?.total ?? 0;
  }

  /** Top layers that records keep. */
  tops(): string[] {
    return this.#db
      .query<{ top: string }, []>("SELECT DISTINCT top FROM build_records WHERE top != ''")
      .all()
      .map(({ top }) => top);
  }

  imageOf(key: string): string | undefined {
    return this.#db.query<{ image_id: string }, [string]>("SELECT image_id FROM build_steps WHERE key = ?").get(key)
      ?.image_id;
  }

  /** The newest image of a step's key wins, as in Docker. */
  recordImage(key: string, imageId: string): void {
    this.#db
      .query("INSERT OR REPLACE INTO build_steps (key, image_id, created_at) VALUES (?, ?, ?)")
      .run(key, imageId, Date.now());
  }

  /** Every image that a step made. */
  imageIds(): Set<string> {
    const rows = this.#db.query<{ image_id: string }, []>("SELECT image_id FROM build_steps").all();
    return new Set(rows.map((row) => row.image_id));
  }

  pathDigest(top: string, path: string): string | undefined {
    return this.#db
      .query<{ digest: string }, [string, string]>(
        "SELECT digest FROM build_path_digests WHERE image_id = ? AND path = ?",
      )
      .get(top, path)?.digest;
  }

  /** All that is known of a chain of layers. */
  pathDigests(top: string): { path: string; digest: string }[] {
    return this.#db
      .query<{ path: string; digest: string }, [string]>(
        "SELECT path, digest FROM build_path_digests WHERE image_id = ? ORDER BY path",
      )
      .all(top);
  }

  recordPathDigest(top: string, source: { path: string; digest: string }): void {
    this.#db
      .query("INSERT OR REPLACE INTO build_path_digests (image_id, path, digest) VALUES (?, ?, ?)")
      .run(top, source.path, source.digest);
  }

  /** Forgets what is said of images and layers that are gone. */
  tidy(isAlive: { image: (id: string) => boolean; layer: (chainId: string) => boolean }): void {
    const dead = [...this.imageIds()].filter((id) => !isAlive.image(id));
    const tops = this.#db.query<{ image_id: string }, []>("SELECT DISTINCT image_id FROM build_path_digests").all();
    this.#db.transaction(() => {
      for (const id of dead) this.#db.query("DELETE FROM build_steps WHERE image_id = ?").run(id);
      for (const { image_id } of tops) {
        if (!isAlive.layer(image_id)) this.#db.query("DELETE FROM build_path_digests WHERE image_id = ?").run(image_id);
      }
    })();
  }
}

function toRecord({ size_bytes, created_ms, used_ms, container_id, ...row }: Row): CacheRecord {
  return { ...row, sizeBytes: size_bytes, createdMs: created_ms, usedMs: used_ms, containerId: container_id };
}
