import { mkdirSync, readdirSync, rmSync, statSync } from "node:fs";
import { open, rm } from "node:fs/promises";
import { join } from "node:path";
import { newId } from "../common/index.ts";
import { RegistryFailure } from "./server-failure.ts";
import { algorithmOf, type DigestAlgorithm } from "./server-grammar.ts";
import type { RegistryLimits } from "./server-options.ts";
import type { RegistryRecords } from "./server-records.ts";
import { Turns } from "./server-turns.ts";
import { digestOf } from "./storage-folder.ts";
import type { RegistryStorage } from "./storage-contract.ts";

/** What has been hashed of an upload, in memory: lost with the process, and then made again from the staged file. */
interface Progress {
  readonly hasher: Bun.CryptoHasher;
  readonly algorithm: DigestAlgorithm;
  sizeBytes: number;
}

export interface UploadServices {
  readonly folder: string;
  readonly records: RegistryRecords;
  readonly storage: RegistryStorage;
  readonly limits: RegistryLimits;
  /** One turn a digest: storing it and collecting it exclude each other. */
  readonly digests: Turns;
}

/**
 * Blobs on their way in: `begin`, any number of `append`, then `finish` or `cancel`. An upload is a staged file and a record; its
 * offset is the file's length, so that a client may go on after a cut connection and after a restart of the server.
 */
export class Uploads {
  readonly #progress = new Map<string, Progress>();
  readonly #turns = new Turns();

  /** Sweeps: a staged file without a record goes. */
  constructor(private readonly services: UploadServices) {
    mkdirSync(services.folder, { recursive: true, mode: 0o700 });
    const known = new Set(services.records.uploads().map(({ id }) => id));
    for (const name of readdirSync(services.folder)) if (!known.has(name)) rmSync(this.#path(name), { force: true });
  }

  async begin(repository: string, algorithm: DigestAlgorithm = "sha256"): Promise<string> {
    const { records, limits } = this.services;
    if (records.uploadCount() >= limits.uploadsAtOnce) {
      const message = `${limits.uploadsAtOnce} uploads are in progress, and no more are taken at once`;
      throw new RegistryFailure("TOOMANYREQUESTS", message, { headers: { "Retry-After": "30" } });
    }
    const id = newId();
    // Recorded first: a file without a record would be swept, a record without a file is an empty upload.
    records.addUpload(id, repository);
    this.#progress.set(id, { hasher: new Bun.CryptoHasher(algorithm), algorithm, sizeBytes: 0 });
    return id;
  }

  /** Bytes that have arrived. Throws BLOB_UPLOAD_UNKNOWN. */
  offset(id: string, repository: string): number {
    if (this.services.records.upload(id)?.repository !== repository) {
      throw new RegistryFailure("BLOB_UPLOAD_UNKNOWN", `No upload "${id}" is in progress in "${repository}"`);
    }
    return statSync(this.#path(id), { throwIfNoEntry: false })?.size ?? 0;
  }

  /**
   * Adds a chunk; the new offset. `start` is where the client believes to be. What arrived of a chunk that was cut off stays.
   * Throws BLOB_UPLOAD_INVALID with 416 when `start` is not the offset.
   */
  append(id: string, chunk: Chunk): Promise<number> {
    return this.#turns.run(id, () => this.#append(id, chunk));
  }

  /** Adds the last chunk, verifies, stores and records. Throws DIGEST_INVALID, and then the upload is gone. */
  finish(id: string, chunk: Chunk, digest: string): Promise<void> {
    return this.#turns.run(id, async () => {
      const size = await this.#append(id, chunk);
      chunk.whenArrived?.();
      const { records, storage, digests } = this.services;
      await this.#makeFile(id);
      const found = await this.#digest(id, algorithmOf(digest));
      if (found !== digest) {
        await this.#drop(id);
        const message = `The content should be "${digest}" and is "${found}"`;
        throw new RegistryFailure("DIGEST_INVALID", message, { detail: { digest, found } });
      }
      await digests.run(digest, async () => {
        const blob = { repository: chunk.repository, digest, size };
        const isWithin = !isOverQuota(this.services, blob);
        if (isWithin) await storage.put(digest, this.#path(id));
        // Asked again: another push into the repository may have been recorded while this one was being stored.
        if (isWithin && !isOverQuota(this.services, blob)) return records.addBlob(chunk.repository, blob);
        if (isWithin && records.blobSize(digest) === undefined) await storage.remove(digest);
        await this.#drop(id);
        throw overQuota(chunk.repository, this.services.limits);
      });
      await this.#drop(id);
    });
  }

  cancel(id: string, repository: string): Promise<void> {
    return this.#turns.run(id, async () => {
      this.offset(id, repository);
      await this.#drop(id);
    });
  }

  /** Takes away what nobody touched since `untilMs`. Returns how many. */
  async expire(untilMs: number): Promise<number> {
    const old = this.services.records
      .uploads()
      .filter(({ id, updatedAtMs }) => updatedAtMs < untilMs && !this.#turns.isBusy(id));
    for (const { id } of old) await this.#turns.run(id, () => this.#drop(id));
    return old.length;
  }

  async #append(id: string, { repository, start, length, body }: Chunk): Promise<number> {
    const offset = this.offset(id, repository);
    if (start !== undefined && start !== offset) {
      const message = `The chunk begins at ${start}, and the upload is at ${offset}`;
      throw new RegistryFailure("BLOB_UPLOAD_INVALID", message, {
        status: 416,
        headers: uploadHeaders(repository, id, offset),
      });
    }
    if (offset + (length ?? 0) > this.services.limits.blobBytes) throw this.#tooLarge();
    if (body) await this.#write(id, offset, body);
    this.services.records.touchUpload(id);
    const size = this.offset(id, repository);
    if (length !== undefined && size - offset !== length) {
      throw new RegistryFailure("SIZE_INVALID", `The chunk should have ${length} bytes and has ${size - offset}`);
    }
    return size;
  }

  async #write(id: string, offset: number, body: AsyncIterable<Uint8Array>): Promise<void> {
    const progress = this.#progress.get(id);
    // A file that is longer than what was hashed: the process that hashed it is gone.
    const hashed = progress?.sizeBytes === offset ? progress : undefined;
    if (!hashed) this.#progress.delete(id);
    await using file = await open(this.#path(id), "a", 0o600);
    let size = offset;
    for await (const bytes of body) {
      size += bytes.length;
      if (size > this.services.limits.blobBytes) throw this.#tooLarge();
      for (let done = 0; done < bytes.length;) done += (await file.write(bytes, done)).bytesWritten;
      if (!hashed) continue;
      hashed.hasher.update(bytes);
      hashed.sizeBytes = size;
    }
  }

  async #digest(id: string, algorithm: DigestAlgorithm): Promise<string> {
    const progress = this.#progress.get(id);
    const size = statSync(this.#path(id)).size;
    if (progress?.algorithm === algorithm && progress.sizeBytes === size) {
      this.#progress.delete(id);
      return `${algorithm}:${progress.hasher.digest("hex")}`;
    }
    return digestOf(Bun.file(this.#path(id)), algorithm);
  }

  /** An empty blob has no chunk that would have made its file. */
  async #makeFile(id: string): Promise<void> {
    await using _file = await open(this.#path(id), "a", 0o600);
  }

  async #drop(id: string): Promise<void> {
    this.#progress.delete(id);
    this.services.records.deleteUpload(id);
    await rm(this.#path(id), { force: true });
  }

  #tooLarge(): RegistryFailure {
    return new RegistryFailure("SIZE_INVALID", `A blob may have ${this.services.limits.blobBytes} bytes`, {
      status: 413,
    });
  }

  #path(id: string): string {
    return join(this.services.folder, id);
  }
}

/** Whether the repository would pass its limit with that blob. One that is linked already adds nothing. */
export function isOverQuota(
  { records, limits }: Pick<UploadServices, "records" | "limits">,
  { repository, digest, size }: { repository: string; digest: string; size: number },
): boolean {
  if (records.linkedSize(repository, digest) !== undefined) return false;
  return records.repositorySize(repository) + size > limits.repositoryBytes;
}

export function overQuota(repository: string, limits: RegistryLimits): RegistryFailure {
  return new RegistryFailure("DENIED", `The blobs of "${repository}" would pass ${limits.repositoryBytes} bytes`);
}

/** Bytes that a client sends: where it believes to be, how many it announces, and the stream. */
export interface Chunk {
  readonly repository: string;
  readonly start: number | undefined;
  readonly length: number | undefined;
  readonly body: AsyncIterable<Uint8Array> | undefined;
  /** Called when the last byte of an upload is here, and only verifying and storing are left. */
  readonly whenArrived?: () => void;
}

/** What tells a client where its upload is. `Range` has no unit and an inclusive end, and an empty upload says 0-0. */
export function uploadHeaders(repository: string, id: string, offset: number): Record<string, string> {
  return {
    Location: `/v2/${repository}/blobs/uploads/${id}`,
    Range: `0-${Math.max(0, offset - 1)}`,
    "Docker-Upload-UUID": id,
  };
}
