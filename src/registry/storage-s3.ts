import { S3Client } from "bun";
import { rm } from "node:fs/promises";
import { EngineError } from "../common/index.ts";
import { isRegistryDigest } from "./server-grammar.ts";
import type { ByteRange, RegistryStorage } from "./storage-contract.ts";

export interface S3Place {
  /** Such as `https://s3.eu-central-1.amazonaws.com` or `http://127.0.0.1:9000`; buckets are named in the path. */
  readonly endpoint: string;
  readonly bucket: string;
  /** Before each key, without slashes at its ends; "" for none. One registry a prefix: what it does not know there, it deletes. */
  readonly prefix: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Clients get blobs from the object store itself, which they then must reach. Default false. */
  readonly redirect?: boolean;
}

/** The interface allows 10,000 parts of at least 5 MiB. */
const maxParts = 9000;
const leastPartBytes = 8 * 1024 * 1024;
const partsAtOnce = 4;
const keysAPage = 1000;
/** A download may begin so long after the answer that sends the client there. */
const addressLifeSeconds = 1200;

/** Blobs as objects `<prefix>/<algorithm>/<hex>` of any store that speaks S3. An object appears whole or not at all. */
export class S3Storage implements RegistryStorage {
  readonly description: string;
  readonly #client: S3Client;

  constructor(private readonly place: S3Place) {
    const { endpoint, bucket, region, accessKeyId, secretAccessKey } = place;
    this.description = `bucket "${bucket}" at ${endpoint}`;
    this.#client = new S3Client({ endpoint, bucket, region, accessKeyId, secretAccessKey });
  }

  async put(digest: string, stagedPath: string): Promise<void> {
    const source = Bun.file(stagedPath);
    const sizeBytes = source.size;
    if ((await this.size(digest)) !== sizeBytes) {
      const partSize = Math.max(leastPartBytes, Math.ceil(sizeBytes / maxParts));
      await this.#told("store", () =>
        this.#client.write(this.#key(digest), source, { partSize, queueSize: partsAtOnce }),
      );
      const stored = await this.size(digest);
      if (stored !== sizeBytes) {
        throw new EngineError(
          "unavailable",
          `The ${this.description} has ${stored} bytes of "${digest}", not ${sizeBytes}`,
        );
      }
    }
    await rm(stagedPath, { force: true });
  }

  async size(digest: string): Promise<number | undefined> {
    return this.#told("ask for", async () => {
      try {
        return (await this.#client.stat(this.#key(digest))).size;
      } catch (error) {
        if (isMissing(error)) return undefined;
        throw error;
      }
    });
  }

  open(digest: string, range?: ByteRange): ReadableStream<Uint8Array> {
    const object = this.#client.file(this.#key(digest));
    return (range ? object.slice(range.start, range.end) : object).stream();
  }

  address(digest: string): string | undefined {
    if (!this.place.redirect) return undefined;
    return this.#client.presign(this.#key(digest), { method: "GET", expiresIn: addressLifeSeconds });
  }

  async remove(digest: string): Promise<void> {
    await this.#told("remove", async () => {
      try {
        await this.#client.delete(this.#key(digest));
      } catch (error) {
        if (!isMissing(error)) throw error;
      }
    });
  }

  async *digests(): AsyncGenerator<string> {
    const base = this.#base();
    for (let startAfter: string | undefined; ;) {
      const page = await this.#told("list", () =>
        this.#client.list({ prefix: base, maxKeys: keysAPage, ...(startAfter === undefined ? {} : { startAfter }) }),
      );
      const keys = (page.contents ?? []).map(({ key }) => key);
      for (const key of keys) {
        const digest = key.slice(base.length).replace("/", ":");
        if (isRegistryDigest(digest)) yield digest;
      }
      startAfter = keys.at(-1);
      if (!page.isTruncated || startAfter === undefined) return;
    }
  }

  #base(): string {
    return this.place.prefix === "" ? "" : `${this.place.prefix}/`;
  }

  #key(digest: string): string {
    if (!isRegistryDigest(digest)) throw new Error(`"${digest}" is no digest`);
    return `${this.#base()}${digest.replace(":", "/")}`;
  }

  async #told<T>(verb: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof EngineError) throw error;
      const message = `Cannot ${verb} blobs in the ${this.description}: ${(error as Error).message}`;
      throw new EngineError("unavailable", message, { cause: error });
    }
  }
}

function isMissing(error: unknown): boolean {
  return ["NoSuchKey", "NotFound"].includes((error as { code?: string }).code ?? "");
}
