import type { Database } from "bun:sqlite";
import type { Descriptor } from "../spec/index.ts";

const schema = `CREATE TABLE IF NOT EXISTS image_attestations (
  image_id TEXT NOT NULL, predicate_type TEXT NOT NULL, digest TEXT NOT NULL, size INTEGER NOT NULL,
  PRIMARY KEY (image_id, predicate_type)
) STRICT`;

/** What is known about how an image was made and what it holds: one predicate of each type. */
export interface Attestation {
  /** A URL: `https://spdx.dev/Document`, `https://slsa.dev/provenance/v0.2`, … */
  readonly predicateType: string;
  /** JSON of the predicate, in the content store. */
  readonly predicate: Descriptor;
}

/** Predicates by image. What they are stated of, a manifest, is only known when the image is pushed. */
export class AttestationTable {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
    this.#db.run(schema);
  }

  /** Takes the place of an earlier one of the same type. */
  put(imageId: string, { predicateType, predicate }: Attestation): void {
    this.#db.run("INSERT OR REPLACE INTO image_attestations VALUES (?, ?, ?, ?)", [
      imageId,
      predicateType,
      predicate.digest,
      predicate.size,
    ]);
  }

  /** In order of their types. */
  of(imageId: string): Attestation[] {
    return this.#db
      .query<{ predicate_type: string; digest: string; size: number }, [string]>(
        "SELECT predicate_type, digest, size FROM image_attestations WHERE image_id = ? ORDER BY predicate_type",
      )
      .all(imageId)
      .map(({ predicate_type, digest, size }) => ({
        predicateType: predicate_type,
        predicate: { mediaType: "application/json", digest, size },
      }));
  }

  /** Within the caller's transaction. */
  forgetImage(imageId: string): void {
    this.#db.run("DELETE FROM image_attestations WHERE image_id = ?", [imageId]);
  }

  /** Every digest of content that a record here names. */
  contentDigests(): string[] {
    return this.#db
      .query<{ digest: string }, []>("SELECT DISTINCT digest FROM image_attestations")
      .all()
      .map(({ digest }) => digest);
  }
}
