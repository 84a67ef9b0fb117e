import { Database, type SQLQueryBindings } from "bun:sqlite";

/** A manifest as it was pushed: `bytes` are kept and hashed as they came. */
export interface StoredManifest {
  readonly digest: string;
  readonly mediaType: string;
  readonly bytes: Uint8Array;
}

export interface ManifestRecord extends StoredManifest {
  readonly repository: string;
  /** What it is about, by its `subject`. */
  readonly subject: string | undefined;
  readonly artifactType: string | undefined;
  readonly annotations: string | undefined;
  /** What it cannot be without: blobs and, for an index, manifests. */
  readonly references: readonly { digest: string; kind: "blob" | "manifest" }[];
}

/** A tag, and when it was last pushed, and it or its manifest last asked for, in milliseconds since 1970. */
export interface TagTimes {
  readonly tag: string;
  readonly digest: string;
  readonly pushedAtMs: number;
  /** Never less than `pushedAtMs`. */
  readonly usedAtMs: number;
}

export interface ManifestTimes {
  readonly digest: string;
  readonly subject: string | null;
  /** When it was last pushed, asked for, or lost a tag. */
  readonly usedAtMs: number;
}

export interface UploadRecord {
  readonly id: string;
  readonly repository: string;
  readonly updatedAtMs: number;
}

const busyTimeoutMs = 5000;
const schema = `
  CREATE TABLE IF NOT EXISTS blobs (digest TEXT PRIMARY KEY, size INTEGER NOT NULL, created_at INTEGER NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS links (
    repository TEXT NOT NULL, digest TEXT NOT NULL, used_at INTEGER NOT NULL, PRIMARY KEY (repository, digest)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS links_by_digest ON links (digest);
  CREATE TABLE IF NOT EXISTS manifests (
    repository TEXT NOT NULL, digest TEXT NOT NULL, media_type TEXT NOT NULL, subject TEXT, artifact_type TEXT, annotations TEXT,
    bytes BLOB NOT NULL, created_at INTEGER NOT NULL, PRIMARY KEY (repository, digest)
  ) STRICT;
  CREATE INDEX IF NOT EXISTS manifests_by_subject ON manifests (repository, subject) WHERE subject IS NOT NULL;
  CREATE TABLE IF NOT EXISTS manifest_references (
    repository TEXT NOT NULL, manifest TEXT NOT NULL, digest TEXT NOT NULL, kind TEXT NOT NULL,
    PRIMARY KEY (repository, manifest, digest)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS references_by_digest ON manifest_references (repository, digest);
  CREATE TABLE IF NOT EXISTS tags (
    repository TEXT NOT NULL, tag TEXT NOT NULL, digest TEXT NOT NULL, updated_at INTEGER NOT NULL, PRIMARY KEY (repository, tag)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS uploads (id TEXT PRIMARY KEY, repository TEXT NOT NULL, updated_at INTEGER NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS uses (
    repository TEXT NOT NULL, name TEXT NOT NULL, used_at INTEGER NOT NULL, PRIMARY KEY (repository, name)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;`;

/**
 * What a registry knows beside the bytes of blobs, in SQLite. Repositories exist by what is in them. A `link` lets a repository
 * serve a blob; a blob without a link is collected. Each method is one transaction, durable when it returns.
 */
export class RegistryRecords implements Disposable {
  readonly #db: Database;

  constructor(path: string) {
    this.#db = new Database(path, { create: true, strict: true });
    for (const pragma of [`busy_timeout = ${busyTimeoutMs}`, "journal_mode = WAL", "synchronous = FULL"]) {
      this.#db.exec(`PRAGMA ${pragma}`);
    }
    this.#db.exec(schema);
  }

  [Symbol.dispose](): void {
    this.#db.close();
  }

  /** Whether a server has worked with these records before: then what the storage holds beside them may be swept. */
  wasClaimed(): boolean {
    const version = this.#one<{ user_version: number }>("PRAGMA user_version")?.user_version ?? 0;
    return version > 0;
  }

  claim(): void {
    this.#db.exec("PRAGMA user_version = 1");
  }

  /** The registry that this one is a cache of; undefined for one that is its own. */
  upstream(): string | undefined {
    return this.#one<{ value: string }>("SELECT value FROM settings WHERE name = 'upstream'")?.value;
  }

  setUpstream(url: string): void {
    this.#run("INSERT OR REPLACE INTO settings VALUES ('upstream', ?)", url);
  }

  /** Bytes of a blob that the repository may serve. */
  linkedSize(repository: string, digest: string): number | undefined {
    const sql = "SELECT size FROM links JOIN blobs USING (digest) WHERE repository = ? AND digest = ?";
    return this.#one<{ size: number }>(sql, repository, digest)?.size;
  }

  blobSize(digest: string): number | undefined {
    return this.#one<{ size: number }>("SELECT size FROM blobs WHERE digest = ?", digest)?.size;
  }

  /** Records a blob whose bytes are in the storage, and lets the repository serve it. */
  addBlob(repository: string, blob: { digest: string; size: number }): void {
    this.#transaction(() => {
      this.#run("INSERT OR IGNORE INTO blobs VALUES (?, ?, ?)", blob.digest, blob.size, Date.now());
      this.link(repository, blob.digest);
    });
  }

  /** Lets the repository serve a blob, and marks it as used now. */
  link(repository: string, digest: string): void {
    const sql = "INSERT INTO links VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET used_at = excluded.used_at";
    this.#run(sql, repository, digest, Date.now());
  }

  /** Marks a link as used now, if it was last marked before `staleMs`: not each request writes. */
  useLink(repository: string, digest: string, staleMs: number): void {
    const sql = "UPDATE links SET used_at = ? WHERE repository = ? AND digest = ? AND used_at < ?";
    this.#run(sql, Date.now(), repository, digest, staleMs);
  }

  /** Some repositories that may serve the blob. */
  repositoriesWith(digest: string, limit: number): string[] {
    const sql = "SELECT repository FROM links WHERE digest = ? ORDER BY repository LIMIT ?";
    return this.#all<{ repository: string }>(sql, digest, limit).map(({ repository }) => repository);
  }

  unlink(repository: string, digest: string): boolean {
    return this.#run("DELETE FROM links WHERE repository = ? AND digest = ?", repository, digest) > 0;
  }

  /**
   * Stores a manifest, and points the tags at it, provided that all it refers to is there; a cache gets that later (`partial`).
   * Returns what is missing, and then stores nothing.
   */
  putManifest(
    manifest: ManifestRecord,
    { tags, partial = false }: { tags: readonly string[]; partial?: boolean },
  ): { digest: string; kind: string }[] {
    const { repository, digest } = manifest;
    return this.#transaction(() => {
      const missing = manifest.references.filter(({ digest, kind }) =>
        kind === "blob" ? this.linkedSize(repository, digest) === undefined : !this.manifest(repository, digest),
      );
      if (missing.length > 0 && !partial) return missing;
      this.#run(
        "INSERT OR REPLACE INTO manifests VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        repository,
        digest,
        manifest.mediaType,
        manifest.subject ?? null,
        manifest.artifactType ?? null,
        manifest.annotations ?? null,
        manifest.bytes,
        Date.now(),
      );
      for (const { digest: other, kind } of manifest.references) {
        this.#run("INSERT OR IGNORE INTO manifest_references VALUES (?, ?, ?, ?)", repository, digest, other, kind);
      }
      for (const tag of tags) {
        this.#markUntagged(repository, tag);
        this.#run("INSERT OR REPLACE INTO tags VALUES (?, ?, ?, ?)", repository, tag, digest, Date.now());
      }
      return [];
    });
  }

  manifest(repository: string, digest: string): StoredManifest | undefined {
    const sql = "SELECT digest, media_type AS mediaType, bytes FROM manifests WHERE repository = ? AND digest = ?";
    return this.#one<StoredManifest>(sql, repository, digest);
  }

  manifestNames(): { repository: string; digest: string }[] {
    return this.#all("SELECT repository, digest FROM manifests ORDER BY repository, digest");
  }

  /** What a manifest refers to and its repository has not (any more). */
  missingReferences(repository: string, manifest: string): string[] {
    const sql = `SELECT digest FROM manifest_references AS r WHERE repository = ?1 AND manifest = ?2
      AND NOT EXISTS (SELECT 1 FROM links WHERE repository = ?1 AND links.digest = r.digest)
      AND NOT EXISTS (SELECT 1 FROM manifests AS m WHERE m.repository = ?1 AND m.digest = r.digest)`;
    return this.#all<{ digest: string }>(sql, repository, manifest).map((row) => row.digest);
  }

  /** Bytes of all blobs that the repository links. */
  repositorySize(repository: string): number {
    const sql = "SELECT coalesce(sum(size), 0) AS size FROM links JOIN blobs USING (digest) WHERE repository = ?";
    return this.#one<{ size: number }>(sql, repository)?.size ?? 0;
  }

  taggedDigest(repository: string, tag: string): string | undefined {
    return this.#one<{ digest: string }>("SELECT digest FROM tags WHERE repository = ? AND tag = ?", repository, tag)
      ?.digest;
  }

  /** Takes the manifest away, and every tag that points at it. */
  deleteManifest(repository: string, digest: string): boolean {
    return this.#transaction(() => {
      const uses = `DELETE FROM uses WHERE repository = ?1 AND (name = ?2 OR name IN
        (SELECT tag FROM tags WHERE repository = ?1 AND digest = ?2))`;
      this.#run(uses, repository, digest);
      this.#run("DELETE FROM tags WHERE repository = ? AND digest = ?", repository, digest);
      this.#run("DELETE FROM manifest_references WHERE repository = ? AND manifest = ?", repository, digest);
      return this.#run("DELETE FROM manifests WHERE repository = ? AND digest = ?", repository, digest) > 0;
    });
  }

  deleteTag(repository: string, tag: string): boolean {
    return this.#transaction(() => {
      this.#markUntagged(repository, tag);
      this.#run("DELETE FROM uses WHERE repository = ? AND name = ?", repository, tag);
      return this.#run("DELETE FROM tags WHERE repository = ? AND tag = ?", repository, tag) > 0;
    });
  }

  /** Notes when tags and manifests, by digest, were asked for. */
  addUses(uses: Iterable<{ repository: string; name: string; usedAtMs: number }>): void {
    const sql = "INSERT INTO uses VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET used_at = max(used_at, excluded.used_at)";
    this.#transaction(() => {
      for (const { repository, name, usedAtMs } of uses) this.#run(sql, repository, name, usedAtMs);
    });
  }

  /** Forgets when tags and manifests were asked for that are not there any more. */
  dropStrayUses(): void {
    this
      .#run(`DELETE FROM uses WHERE NOT EXISTS (SELECT 1 FROM tags AS t WHERE t.repository = uses.repository AND t.tag = uses.name)
      AND NOT EXISTS (SELECT 1 FROM manifests AS m WHERE m.repository = uses.repository AND m.digest = uses.name)`);
  }

  /** The repository's tags, those pushed last first. */
  tagTimes(repository: string): TagTimes[] {
    const sql = `SELECT tag, digest, updated_at AS pushedAtMs, max(updated_at, coalesce((SELECT max(used_at) FROM uses
      WHERE uses.repository = tags.repository AND name IN (tag, digest)), 0)) AS usedAtMs
      FROM tags WHERE repository = ? ORDER BY updated_at DESC, tag`;
    return this.#all(sql, repository);
  }

  manifestTimes(repository: string): ManifestTimes[] {
    const sql = `SELECT digest, subject, max(created_at, coalesce((SELECT max(used_at) FROM uses
      WHERE uses.repository = manifests.repository AND (name = digest OR name IN
        (SELECT tag FROM tags WHERE tags.repository = manifests.repository AND tags.digest = manifests.digest))), 0)) AS usedAtMs
      FROM manifests WHERE repository = ? ORDER BY digest`;
    return this.#all(sql, repository);
  }

  /** Manifests that manifests of the repository, such as indexes, name. */
  manifestChildren(repository: string): { manifest: string; digest: string }[] {
    const sql = "SELECT manifest, digest FROM manifest_references WHERE repository = ? AND kind = 'manifest'";
    return this.#all(sql, repository);
  }

  /** Many calls as one transaction: what they saw is still so when they write. */
  atOnce<T>(work: () => T): T {
    return this.#transaction(work);
  }

  /** Its manifest is in use until now: whoever counts how long it had no tag counts from here. */
  #markUntagged(repository: string, tag: string): void {
    const sql = `INSERT INTO uses SELECT repository, digest, ? FROM tags WHERE repository = ? AND tag = ?
      ON CONFLICT DO UPDATE SET used_at = max(used_at, excluded.used_at)`;
    this.#run(sql, Date.now(), repository, tag);
  }

  /** Whether anything is in it. */
  hasRepository(repository: string): boolean {
    const sql = `SELECT 1 FROM manifests WHERE repository = ?1 UNION ALL SELECT 1 FROM links WHERE repository = ?1 LIMIT 1`;
    return this.#one(sql, repository) !== undefined;
  }

  /** Tags in byte order, after `last`. */
  tags(repository: string, page: { last: string; limit: number }): string[] {
    const sql = "SELECT tag AS name FROM tags WHERE repository = ? AND tag > ? ORDER BY tag LIMIT ?";
    return this.#all<{ name: string }>(sql, repository, page.last, page.limit).map((row) => row.name);
  }

  /** Names of repositories that hold a manifest, in byte order, after `last`. */
  repositories(page: { last: string; limit: number }): string[] {
    const sql = "SELECT DISTINCT repository AS name FROM manifests WHERE repository > ? ORDER BY repository LIMIT ?";
    return this.#all<{ name: string }>(sql, page.last, page.limit).map((row) => row.name);
  }

  /** Manifests about `subject`, by digest, after `last`; `artifactType` filters. */
  referrers(
    repository: string,
    query: { subject: string; artifactType: string | undefined; last: string; limit: number },
  ): { digest: string; mediaType: string; size: number; artifactType: string | null; annotations: string | null }[] {
    const sql = `SELECT digest, media_type AS mediaType, length(bytes) AS size, artifact_type AS artifactType, annotations FROM manifests
      WHERE repository = ?1 AND subject = ?2 AND (?3 IS NULL OR artifact_type = ?3) AND digest > ?4 ORDER BY digest LIMIT ?5`;
    return this.#all(sql, repository, query.subject, query.artifactType ?? null, query.last, query.limit);
  }

  addUpload(id: string, repository: string): void {
    this.#run("INSERT INTO uploads VALUES (?, ?, ?)", id, repository, Date.now());
  }

  upload(id: string): UploadRecord | undefined {
    return this.#one("SELECT id, repository, updated_at AS updatedAtMs FROM uploads WHERE id = ?", id);
  }

  touchUpload(id: string): void {
    this.#run("UPDATE uploads SET updated_at = ? WHERE id = ?", Date.now(), id);
  }

  deleteUpload(id: string): boolean {
    return this.#run("DELETE FROM uploads WHERE id = ?", id) > 0;
  }

  uploads(): UploadRecord[] {
    return this.#all("SELECT id, repository, updated_at AS updatedAtMs FROM uploads ORDER BY id");
  }

  uploadCount(): number {
    return this.#one<{ count: number }>("SELECT count(*) AS count FROM uploads")?.count ?? 0;
  }

  /** Lets go of what no manifest of the repository needs and nobody used since `idleSinceMs`. Returns how many links went. */
  dropIdleLinks(idleSinceMs: number): number {
    const sql = `DELETE FROM links WHERE used_at < ? AND NOT EXISTS (SELECT 1 FROM manifest_references AS r
      WHERE r.repository = links.repository AND r.digest = links.digest)`;
    return this.#run(sql, idleSinceMs);
  }

  /** Lets go of what nobody used since then, needed by a manifest or not, as a cache may. */
  dropUnusedLinks(unusedSinceMs: number): number {
    return this.#run("DELETE FROM links WHERE used_at < ?", unusedSinceMs);
  }

  unlinkedBlobs(): { digest: string; size: number }[] {
    return this.#all(
      "SELECT digest, size FROM blobs WHERE NOT EXISTS (SELECT 1 FROM links WHERE links.digest = blobs.digest)",
    );
  }

  /** Forgets a blob, unless a repository links it by now. */
  forgetUnlinkedBlob(digest: string): boolean {
    const sql = "DELETE FROM blobs WHERE digest = ?1 AND NOT EXISTS (SELECT 1 FROM links WHERE links.digest = ?1)";
    return this.#run(sql, digest) > 0;
  }

  blobs(): { digest: string; size: number }[] {
    return this.#all("SELECT digest, size FROM blobs ORDER BY digest");
  }

  totals(): { blobs: number; blobBytes: number; manifests: number; tags: number; uploads: number } {
    const sql = `SELECT (SELECT count(*) FROM blobs) AS blobs, (SELECT coalesce(sum(size), 0) FROM blobs) AS blobBytes,
      (SELECT count(*) FROM manifests) AS manifests, (SELECT count(*) FROM tags) AS tags, (SELECT count(*) FROM uploads) AS uploads`;
    return this.#one(sql) ?? { blobs: 0, blobBytes: 0, manifests: 0, tags: 0, uploads: 0 };
  }

  #one<T>(sql: string, ...values: SQLQueryBindings[]): T | undefined {
    return this.#db.query<T, SQLQueryBindings[]>(sql).get(...values) ?? undefined;
  }

  #all<T>(sql: string, ...values: SQLQueryBindings[]): T[] {
    return this.#db.query<T, SQLQueryBindings[]>(sql).all(...values);
  }

  #run(sql: string, ...values: SQLQueryBindings[]): number {
    return this.#db.query(sql).run(...values).changes;
  }

  #transaction<T>(work: () => T): T {
    return this.#db.transaction(work).immediate();
  }
}
