import type { Database } from "bun:sqlite";
import type { ContentStore } from "../content/index.ts";
import type { Layer, Snapshotter } from "../snapshot/index.ts";
import { familiarString, parseReference, type Descriptor, type ImageConfig } from "../spec/index.ts";
import { maxConfigBytes, parseImageConfig } from "./image-config.ts";
import { zeroTime, type ImageRecord } from "./image-record.ts";
import { AttestationTable } from "./attestation-table.ts";
import { IndexTable } from "./index-table.ts";
import { UnsyncedImages } from "./unsynced-images.ts";

const schema = `
  CREATE TABLE IF NOT EXISTS images (
    id TEXT PRIMARY KEY, chain_id TEXT, parent TEXT NOT NULL, size_bytes INTEGER NOT NULL,
    created_at TEXT NOT NULL, last_tag_time TEXT NOT NULL
  ) STRICT;
  CREATE INDEX IF NOT EXISTS images_parent ON images (parent);
  CREATE TABLE IF NOT EXISTS image_layers (
    image_id TEXT NOT NULL, position INTEGER NOT NULL,
    diff_id TEXT NOT NULL, chain_id TEXT NOT NULL, blob_digest TEXT, blob_media_type TEXT, blob_size INTEGER,
    PRIMARY KEY (image_id, position)
  ) STRICT;
  CREATE TABLE IF NOT EXISTS image_tags (
    repository TEXT NOT NULL, tag TEXT NOT NULL, image_id TEXT NOT NULL,
    PRIMARY KEY (repository, tag)
  ) STRICT;
  CREATE INDEX IF NOT EXISTS image_tags_image ON image_tags (image_id);
  CREATE TABLE IF NOT EXISTS image_digests (
    repository TEXT NOT NULL, digest TEXT NOT NULL, image_id TEXT NOT NULL,
    PRIMARY KEY (repository, digest)
  ) STRICT;
  CREATE INDEX IF NOT EXISTS image_digests_image ON image_digests (image_id);
  CREATE TABLE IF NOT EXISTS layer_blobs (
    diff_id TEXT PRIMARY KEY, digest TEXT NOT NULL, media_type TEXT NOT NULL, size INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE IF NOT EXISTS image_manifests (
    image_id TEXT NOT NULL, digest TEXT NOT NULL, media_type TEXT NOT NULL, size INTEGER NOT NULL,
    PRIMARY KEY (image_id, digest)
  ) STRICT;
  CREATE TABLE IF NOT EXISTS blob_sources (
    digest TEXT NOT NULL, repository TEXT NOT NULL, PRIMARY KEY (digest, repository)
  ) STRICT;
  CREATE TABLE IF NOT EXISTS layer_tars (diff_id TEXT PRIMARY KEY, size_bytes INTEGER NOT NULL) STRICT;`;

interface ImageRow {
  id: string;
  chain_id: string | null;
  parent: string;
  size_bytes: number;
  created_at: string;
  last_tag_time: string;
}

/** A tag or a digest of a repository (`docker.io/library/busybox`) that names an image. */
export type StoredReference = { readonly repository: string; readonly imageId: string } & (
  { readonly tag: string } | { readonly digest: string }
);

/** A stored reference as people write it. */
export function referenceText(reference: StoredReference): string {
  const suffix = "tag" in reference ? `:${reference.tag}` : `@${reference.digest}`;
  return familiarString(parseReference(`${reference.repository}${suffix}`));
}

/** The rows of images, their layers, tags and digests. Each method is one transaction. */
export class ImageTable {
  readonly indexes: IndexTable;
  readonly attestations: AttestationTable;
  readonly unsynced: UnsyncedImages;
  readonly #db: Database;
  readonly #content: ContentStore;
  readonly #snapshots: Snapshotter;
  /** Configs never change under their id, and lists need them all. */
  readonly #configs = new Map<string, ImageConfig>();

  constructor(options: { db: Database; content: ContentStore; snapshots: Snapshotter }) {
    this.#db = options.db;
    this.#content = options.content;
    this.#snapshots = options.snapshots;
    this.#db.run(schema);
    this.indexes = new IndexTable(this.#db);
    this.attestations = new AttestationTable(this.#db);
    this.unsynced = new UnsyncedImages(this.#db);
  }

  byId(id: string): ImageRecord | undefined {
    const row = this.#db.query<ImageRow, [string]>("SELECT * FROM images WHERE id = ?").get(id);
    return row ? this.#record(row) : undefined;
  }

  has(id: string): boolean {
    return this.#db.query("SELECT 1 FROM images WHERE id = ?").get(id) !== null;
  }

  all(): ImageRecord[] {
    return this.#db
      .query<ImageRow, []>("SELECT * FROM images")
      .all()
      .map((row) => this.#record(row));
  }

  ids(): string[] {
    return this.#column("SELECT id AS value FROM images");
  }

  /** At most two: enough to tell a unique prefix. `hex` has no `sha256:`. */
  idsByPrefix(hex: string): string[] {
    return this.#column("SELECT id AS value FROM images WHERE id GLOB ? ORDER BY id LIMIT 2", `sha256:${hex}*`);
  }

  children(id: string): string[] {
    return this.#column("SELECT id AS value FROM images WHERE parent = ?", id);
  }

  /** Writes the record with its layers; an image that exists keeps its row, and gets a parent when it had none. */
  insert(
    image: { id: string; config: ImageConfig; parent: string; sizeBytes: number },
    layers: readonly { layer: Layer; blob: Descriptor | undefined }[],
  ): void {
    const insertLayer = this.#db.query(
      `INSERT INTO image_layers VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
        blob_digest = ifnull(blob_digest, excluded.blob_digest), blob_size = ifnull(blob_size, excluded.blob_size),
        blob_media_type = ifnull(blob_media_type, excluded.blob_media_type)`,
    );
    this.#durably(() => {
      this.#db
        .query(
          `INSERT INTO images VALUES (?, ?, ?, ?, ?, ?)
            ON CONFLICT DO UPDATE SET parent = excluded.parent WHERE parent = '' AND excluded.parent <> ''`,
        )
        .run(
          image.id,
          layers.at(-1)?.layer.chainId ?? null,
          image.parent,
          image.sizeBytes,
          image.config.created ?? zeroTime,
          zeroTime,
        );
      for (const [position, { layer, blob }] of layers.entries()) {
        insertLayer.run(
          image.id,
          position,
          layer.diffId,
          layer.chainId,
          blob?.digest ?? null,
          blob?.mediaType ?? null,
          blob?.size ?? null,
        );
        if (blob) {
          this.#db
            .query("INSERT OR IGNORE INTO layer_blobs VALUES (?, ?, ?, ?)")
            .run(layer.diffId, blob.digest, blob.mediaType, blob.size);
        }
      }
    });
  }

  /** Forgets an image that no reference names any more. */
  delete(id: string): void {
    this.#db.transaction(() => {
      this.#db.query("UPDATE images SET parent = '' WHERE parent = ?").run(id);
      this.#db.query("DELETE FROM image_layers WHERE image_id = ?").run(id);
      this.#db.query("DELETE FROM image_manifests WHERE image_id = ?").run(id);
      this.#db.query("DELETE FROM images WHERE id = ?").run(id);
      this.indexes.forgetImage(id);
      this.attestations.forgetImage(id);
    })();
    this.#configs.delete(id);
  }

  imageOfTag(repository: string, tag: string): string | undefined {
    return this.#column(
      "SELECT image_id AS value FROM image_tags WHERE repository = ? AND tag = ?",
      repository,
      tag,
    )[0];
  }

  imageOfDigest(repository: string, digest: string): string | undefined {
    return this.#column(
      "SELECT image_id AS value FROM image_digests WHERE repository = ? AND digest = ?",
      repository,
      digest,
    )[0];
  }

  /** A tag that stood for an index does so no more; whoever means one names it after this. */
  putTag(id: string, { repository, tag }: { repository: string; tag: string }): void {
    this.#durably(() => {
      this.#db.query("INSERT OR REPLACE INTO image_tags VALUES (?, ?, ?)").run(repository, tag, id);
      this.indexes.forgetTag({ repository, tag });
      this.#db.query("UPDATE images SET last_tag_time = ? WHERE id = ?").run(new Date().toISOString(), id);
    });
  }

  putDigest(id: string, { repository, digest }: { repository: string; digest: string }): void {
    this.#durably(() => {
      this.#db.query("INSERT OR REPLACE INTO image_digests VALUES (?, ?, ?)").run(repository, digest, id);
    });
  }

  removeReference(reference: StoredReference): void {
    if ("tag" in reference) {
      this.#db
        .query("DELETE FROM image_tags WHERE repository = ? AND tag = ?")
        .run(reference.repository, reference.tag);
      this.indexes.forgetTag(reference);
    } else {
      this.#db
        .query("DELETE FROM image_digests WHERE repository = ? AND digest = ?")
        .run(reference.repository, reference.digest);
    }
  }

  /** Tags, then digests, each in order of their text. */
  references(id: string): StoredReference[] {
    return this.#references("image_id = ?", id);
  }

  referencesOfRepository(repository: string): StoredReference[] {
    return this.#references("repository = ?", repository);
  }

  #references(where: string, value: string): StoredReference[] {
    const tags = this.#db
      .query<{ repository: string; tag: string; imageId: string }, [string]>(
        `SELECT repository, tag, image_id AS imageId FROM image_tags WHERE ${where} ORDER BY repository, tag`,
      )
      .all(value);
    const digests = this.#db
      .query<{ repository: string; digest: string; imageId: string }, [string]>(
        `SELECT repository, digest, image_id AS imageId FROM image_digests WHERE ${where} ORDER BY repository, digest`,
      )
      .all(value);
    return [...tags, ...digests];
  }

  /** Keeps a manifest by which a registry knows the image: a push sends the same bytes again. */
  putManifest(id: string, { digest, mediaType, size }: Descriptor): void {
    this.#durably(() => {
      this.#db.query("INSERT OR IGNORE INTO image_manifests VALUES (?, ?, ?, ?)").run(id, digest, mediaType, size);
    });
  }

  /** The latest first. */
  manifestsOf(id: string): Descriptor[] {
    return this.#db
      .query<Descriptor, [string]>(
        "SELECT digest, media_type AS mediaType, size FROM image_manifests WHERE image_id = ? ORDER BY rowid DESC",
      )
      .all(id);
  }

  /** Keeps the blob that was made of a layer: the next push sends it again. */
  putLayerBlob(diffId: string, { digest, mediaType, size }: Descriptor): void {
    this.#durably(() => {
      this.#db.query("INSERT OR REPLACE INTO layer_blobs VALUES (?, ?, ?, ?)").run(diffId, digest, mediaType, size);
    });
  }

  /** Remembers that a registry's repository has a blob: `localhost:5000/app`. */
  putBlobSource(digest: string, repository: string): void {
    this.#db.query("INSERT OR IGNORE INTO blob_sources VALUES (?, ?)").run(digest, repository);
  }

  blobSources(digest: string): string[] {
    return this.#column("SELECT repository AS value FROM blob_sources WHERE digest = ? ORDER BY repository", digest);
  }

  /** All or nothing of several writes. */
  atomically(write: () => void): void {
    this.#durably(write);
  }

  /** A blob that carries this layer, whichever image brought it; the image may be gone. */
  blobOf(diffId: string): Descriptor | undefined {
    return (
      this.#db
        .query<Descriptor, [string]>("SELECT digest, media_type AS mediaType, size FROM layer_blobs WHERE diff_id = ?")
        .get(diffId) ?? undefined
    );
  }

  /** Forgets the blobs of layers that are gone: a layer under a container outlives its image, and needs its blob to be saved. */
  dropBlobsOfMissingLayers(): void {
    const present = new Set(this.#snapshots.layers().map((layer) => layer.diffId));
    for (const diffId of this.#column("SELECT diff_id AS value FROM layer_blobs")) {
      if (!present.has(diffId)) this.#db.query("DELETE FROM layer_blobs WHERE diff_id = ?").run(diffId);
    }
    this.#db.run("DELETE FROM blob_sources WHERE digest NOT IN (SELECT digest FROM layer_blobs)");
  }

  /** Every digest of content that a record here names. */
  contentDigests(): Set<string> {
    return new Set(
      this.#column(
        `SELECT id AS value FROM images UNION SELECT digest FROM image_digests
          UNION SELECT digest FROM image_manifests
          UNION SELECT blob_digest FROM image_layers WHERE blob_digest IS NOT NULL UNION SELECT digest FROM layer_blobs`,
      ).concat(this.indexes.contentDigests(), this.attestations.contentDigests()),
    );
  }

  /** Whether something that is here stands on the blob, and not only a registry's name for it. */
  needsBlob(digest: string): boolean {
    return (
      this.#column(
        `SELECT digest AS value FROM layer_blobs WHERE digest = ? UNION SELECT digest FROM image_manifests WHERE digest = ?
          UNION SELECT digest FROM image_indexes WHERE digest = ? UNION SELECT digest FROM index_attached WHERE digest = ?`,
        digest,
        digest,
        digest,
        digest,
      ).length > 0
    );
  }

  /** Forgets that a blob carries a layer, or is a manifest, an index or attached to one: it is damaged. The images stay. */
  forgetBlob(digest: string): void {
    this.#durably(() => {
      this.#db.run("DELETE FROM layer_blobs WHERE digest = ?", [digest]);
      this.#db.run("DELETE FROM image_manifests WHERE digest = ?", [digest]);
      this.#db.run("UPDATE image_layers SET blob_digest = NULL WHERE blob_digest = ?", [digest]);
      this.#db.run("DELETE FROM blob_sources WHERE digest = ?", [digest]);
      this.indexes.forget(digest);
    });
  }

  /** Of an image's layers, lowest first, also where the layers themselves are gone. */
  layerChainIds(id: string): string[] {
    return this.#column("SELECT chain_id AS value FROM image_layers WHERE image_id = ? ORDER BY position", id);
  }

  /** chainIDs that images need. */
  chainIds(): Set<string> {
    return new Set(this.#column("SELECT DISTINCT chain_id AS value FROM image_layers"));
  }

  /** The length of a layer as an uncompressed tar, once it was measured: a tar header must say it beforehand. */
  tarSize(diffId: string): number | undefined {
    const row = this.#db
      .query<{ size: number }, [string]>("SELECT size_bytes AS size FROM layer_tars WHERE diff_id = ?")
      .get(diffId);
    return row?.size;
  }

  putTarSize(diffId: string, sizeBytes: number): void {
    this.#db.query("INSERT OR REPLACE INTO layer_tars VALUES (?, ?)").run(diffId, sizeBytes);
  }

  #record(row: ImageRow): ImageRecord {
    const references = this.references(row.id);
    return {
      id: row.id,
      config: this.#config(row.id),
      chainId: row.chain_id ?? undefined,
      layers: row.chain_id === null ? [] : this.#snapshots.chain(row.chain_id).toReversed(),
      repoTags: references.filter((reference) => "tag" in reference).map(referenceText),
      repoDigests: references.filter((reference) => "digest" in reference).map(referenceText),
      parent: row.parent,
      sizeBytes: row.size_bytes,
      createdAt: row.created_at,
      lastTagTime: row.last_tag_time,
    };
  }

  #config(id: string): ImageConfig {
    let config = this.#configs.get(id);
    if (!config) {
      config = parseImageConfig(this.#content.readBytes(id, maxConfigBytes));
      this.#configs.set(id, config);
    }
    return config;
  }

  #column(sql: string, ...values: string[]): string[] {
    return this.#db
      .query<{ value: string }, string[]>(sql)
      .all(...values)
      .map((row) => row.value);
  }

  /** Runs one transaction that a power cut after it does not undo; the connection's own setting comes back. */
  #durably(write: () => void): void {
    if (this.#db.inTransaction) return write();
    const before = this.#db.query<{ synchronous: number }, []>("PRAGMA synchronous").get()?.synchronous ?? 2;
    this.#db.run("PRAGMA synchronous = FULL");
    try {
      this.#db.transaction(write)();
    } finally {
      this.#db.run(`PRAGMA synchronous = ${before}`);
    }
  }
}
