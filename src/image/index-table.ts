import type { Database } from "bun:sqlite";
import type { Descriptor, Platform } from "../spec/index.ts";

const schema = `
  CREATE TABLE IF NOT EXISTS image_indexes (
    digest TEXT PRIMARY KEY, media_type TEXT NOT NULL, size INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE IF NOT EXISTS index_images (
    index_digest TEXT NOT NULL, image_id TEXT NOT NULL,
    manifest_digest TEXT NOT NULL, manifest_media_type TEXT NOT NULL, manifest_size INTEGER NOT NULL,
    os TEXT NOT NULL, architecture TEXT NOT NULL, variant TEXT NOT NULL,
    PRIMARY KEY (index_digest, manifest_digest)
  ) STRICT;
  CREATE INDEX IF NOT EXISTS index_images_image ON index_images (image_id);
  CREATE TABLE IF NOT EXISTS index_attached (
    index_digest TEXT NOT NULL, manifest_digest TEXT NOT NULL, digest TEXT NOT NULL,
    PRIMARY KEY (index_digest, manifest_digest, digest)
  ) STRICT;
  CREATE TABLE IF NOT EXISTS tag_indexes (
    repository TEXT NOT NULL, tag TEXT NOT NULL, index_digest TEXT NOT NULL,
    PRIMARY KEY (repository, tag)
  ) STRICT;`;

/** An image of an index that is here, and the manifest by which the index names it. */
export interface IndexMember {
  readonly imageId: string;
  readonly manifest: Descriptor;
  readonly platform: Platform;
  /** Digests of the content that the index attaches to it: manifests of attestations, and their blobs. */
  readonly attached?: readonly string[] | undefined;
}

interface MemberRow {
  image_id: string;
  manifest_digest: string;
  manifest_media_type: string;
  manifest_size: number;
  os: string;
  architecture: string;
  variant: string;
}

/**
 * The indexes (OCI) or manifest lists (Docker) whose images are here, some of them or all. A name that came with one stands for all
 * of them: `image_tags` says which it means where no platform is asked for, and the rows here what else it holds.
 */
export class IndexTable {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
    this.#db.run(schema);
  }

  /** Records that an index holds an image. Within the caller's transaction. */
  add(index: Descriptor, { imageId, manifest, platform, attached = [] }: IndexMember): void {
    this.#db.run("INSERT OR IGNORE INTO image_indexes VALUES (?, ?, ?)", [index.digest, index.mediaType, index.size]);
    this.#db.run("INSERT OR REPLACE INTO index_images VALUES (?, ?, ?, ?, ?, ?, ?, ?)", [
      index.digest,
      imageId,
      manifest.digest,
      manifest.mediaType,
      manifest.size,
      platform.os,
      platform.architecture,
      platform.variant ?? "",
    ]);
    for (const digest of attached) {
      this.#db.run("INSERT OR IGNORE INTO index_attached VALUES (?, ?, ?)", [index.digest, manifest.digest, digest]);
    }
  }

  descriptor(digest: string): Descriptor | undefined {
    return (
      this.#db
        .query<Descriptor, [string]>("SELECT digest, media_type AS mediaType, size FROM image_indexes WHERE digest = ?")
        .get(digest) ?? undefined
    );
  }

  /** In the order in which they came. */
  members(digest: string): IndexMember[] {
    return this.#db
      .query<MemberRow, [string]>("SELECT * FROM index_images WHERE index_digest = ? ORDER BY rowid")
      .all(digest)
      .map((row) => ({
        imageId: row.image_id,
        manifest: { mediaType: row.manifest_media_type, digest: row.manifest_digest, size: row.manifest_size },
        platform: {
          os: row.os,
          architecture: row.architecture,
          ...(row.variant === "" ? {} : { variant: row.variant }),
        },
      }));
  }

  /** Indexes that hold an image, the latest first. */
  of(imageId: string): string[] {
    return this.#column(
      "SELECT DISTINCT index_digest AS value FROM index_images WHERE image_id = ? ORDER BY rowid DESC",
      imageId,
    );
  }

  /** The index that a tag names. */
  ofTag(repository: string, tag: string): string | undefined {
    return this.#column(
      "SELECT index_digest AS value FROM tag_indexes WHERE repository = ? AND tag = ?",
      repository,
      tag,
    )[0];
  }

  nameTag({ repository, tag }: { repository: string; tag: string }, digest: string): void {
    this.#db.run("INSERT OR REPLACE INTO tag_indexes VALUES (?, ?, ?)", [repository, tag, digest]);
  }

  forgetTag({ repository, tag }: { repository: string; tag: string }): void {
    this.#db.run("DELETE FROM tag_indexes WHERE repository = ? AND tag = ?", [repository, tag]);
  }

  /** Whether a tag or a digest reference stands for it. */
  isNamed(digest: string): boolean {
    return (
      this.#column(
        `SELECT index_digest AS value FROM tag_indexes WHERE index_digest = ?
          UNION SELECT digest FROM image_digests WHERE digest = ?`,
        digest,
        digest,
      ).length > 0
    );
  }

  /** Whether the name of an index keeps the image, which then has none of its own and is not dangling. */
  keeps(imageId: string): boolean {
    return this.of(imageId).some((digest) => this.isNamed(digest));
  }

  /** Lets another of an index's images be what its names mean. Within the caller's transaction. */
  moveNames(digest: string, { from, to }: { from: string; to: string }): void {
    this.#db.run("UPDATE image_digests SET image_id = ? WHERE digest = ? AND image_id = ?", [to, digest, from]);
    this.#db.run(
      `UPDATE image_tags SET image_id = ? WHERE image_id = ? AND (repository, tag) IN
        (SELECT repository, tag FROM tag_indexes WHERE index_digest = ?)`,
      [to, from, digest],
    );
  }

  /** Takes one image out of what is here of an index. Within the caller's transaction. */
  leave(digest: string, imageId: string): void {
    this.#db.run("DELETE FROM index_images WHERE index_digest = ? AND image_id = ?", [digest, imageId]);
    this.#detach();
  }

  /** An index, or what one attaches. Within the caller's transaction. */
  forget(digest: string): void {
    this.#db.run("DELETE FROM index_attached WHERE digest = ?", [digest]);
    this.#db.run("DELETE FROM index_images WHERE index_digest = ?", [digest]);
    this.#db.run("DELETE FROM image_indexes WHERE digest = ?", [digest]);
    this.#db.run("DELETE FROM tag_indexes WHERE index_digest = ?", [digest]);
    this.#detach();
  }

  /** Within the caller's transaction. */
  forgetImage(imageId: string): void {
    this.#db.run("DELETE FROM index_images WHERE image_id = ?", [imageId]);
    this.#db.run("DELETE FROM image_indexes WHERE digest NOT IN (SELECT index_digest FROM index_images)");
    this.#db.run("DELETE FROM tag_indexes WHERE index_digest NOT IN (SELECT digest FROM image_indexes)");
    this.#detach();
  }

  /** Every digest of content that a record here names. */
  contentDigests(): string[] {
    return this.#column(
      `SELECT digest AS value FROM image_indexes UNION SELECT manifest_digest FROM index_images
        UNION SELECT digest FROM index_attached`,
    );
  }

  /** What was attached to images that left goes with them. */
  #detach(): void {
    this.#db.run(
      `DELETE FROM index_attached WHERE (index_digest, manifest_digest) NOT IN
        (SELECT index_digest, manifest_digest FROM index_images)`,
    );
  }

  #column(sql: string, ...values: string[]): string[] {
    return this.#db
      .query<{ value: string }, string[]>(sql)
      .all(...values)
      .map((row) => row.value);
  }
}
