import { open, rm, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { newId } from "../common/index.ts";
import { readBlob } from "./client-blob.ts";
import type { BlobSource } from "./server-blobs.ts";
import { RegistryFailure } from "./server-failure.ts";
import { algorithmOf } from "./server-grammar.ts";
import type { RegistryLimits } from "./server-options.ts";
import type { RegistryRecords } from "./server-records.ts";
import type { Turns } from "./server-turns.ts";
import { sizeOf, UpstreamDown, type Upstream } from "./server-upstream.ts";
import type { ByteRange, RegistryStorage } from "./storage-contract.ts";

const readBytes = 256 * 1024;

export interface CacheBlobServices {
  /** Of staged files; what has no record there goes at the next start. */
  readonly folder: string;
  readonly upstream: Upstream;
  readonly records: RegistryRecords;
  readonly storage: RegistryStorage;
  readonly digests: Turns;
  readonly limits: RegistryLimits;
  readonly log: (level: "info" | "error", message: string) => void;
}

/** One fetch of a blob from the upstream: a file that grows, and whoever reads it meanwhile. */
interface Download {
  /** The upstream's name. */
  readonly from: string;
  readonly size: number;
  readonly file: FileHandle;
  writtenBytes: number;
  isVerified: boolean;
  failure: Error | undefined;
  /** The download itself, and each reader. The file is closed after the last. */
  users: number;
  /** Resolves with the next progress. */
  moved: PromiseWithResolvers<void>;
}

/**
 * Blobs on their way from the upstream. Clients that want one at once share one fetch: it writes a staged file, each client reads that
 * as it grows, and when all is verified it is stored. The last byte is held back until then, so that nobody gets wrong bytes whole. A
 * fetch goes on when its clients leave.
 */
export class CacheBlobs implements AsyncDisposable {
  readonly #downloads = new Map<string, Promise<Download>>();
  readonly #working = new Set<Promise<void>>();
  readonly #stop = new AbortController();

  constructor(private readonly services: CacheBlobServices) {}

  /** The blob as it comes; `undefined` where it was found to be here already, and is now linked. */
  async open(repository: string, digest: string): Promise<BlobSource | undefined> {
    const { records, upstream } = this.services;
    const present = records.blobSize(digest);
    if (present !== undefined) {
      // Here for another repository: whether this one has it, too, the upstream must say.
      await upstream.blobSize(repository, digest);
      if (await this.#linkPresent(repository, digest)) return undefined;
    }
    const key = `${repository} ${digest}`;
    let starting = this.#downloads.get(key);
    if (!starting) {
      starting = this.#start(repository, digest, () => this.#downloads.delete(key));
      this.#downloads.set(key, starting);
      starting.catch(() => this.#downloads.delete(key));
    }
    const download = await starting;
    const openRange = async (range: ByteRange): Promise<Blob | ReadableStream<Uint8Array>> => {
      // It ended between the two calls: then it is in the storage, or failed.
      if (download.users > 0) return this.#follow(download, range);
      if (download.failure) throw new UpstreamDown(download.from, download.failure);
      return this.services.storage.open(digest, range);
    };
    return { size: download.size, open: openRange };
  }

  /** Ends the fetches, whose staged files go. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error("the registry stops"));
    await Promise.all(this.#working);
  }

  #linkPresent(repository: string, digest: string): Promise<boolean> {
    const { records, digests } = this.services;
    return digests.run(digest, async () => {
      if (records.blobSize(digest) === undefined) return false;
      records.link(repository, digest);
      return true;
    });
  }

  async #start(repository: string, digest: string, whenEnded: () => void): Promise<Download> {
    const { upstream, folder, limits } = this.services;
    const first = await upstream.blob(repository, digest, 0);
    let staged: { path: string; download: Download };
    try {
      const size = sizeOf(first, digest);
      if (size > limits.blobBytes) {
        throw new RegistryFailure(
          "SIZE_INVALID",
          `A blob may have ${limits.blobBytes} bytes, and "${digest}" has ${size}`,
          {
            status: 502,
          },
        );
      }
      const path = join(folder, newId());
      const file = await open(path, "wx+", 0o600);
      const state = { writtenBytes: 0, isVerified: false, failure: undefined, users: 1 };
      staged = { path, download: { from: upstream.name, size, file, ...state, moved: Promise.withResolvers<void>() } };
    } catch (error) {
      await first.body?.cancel();
      throw error;
    }
    const { download, path } = staged;
    const work = this.#fill(download, { repository, digest, path, first, whenEnded }).finally(() =>
      this.#working.delete(work),
    );
    this.#working.add(work);
    return download;
  }

  async #fill(
    download: Download,
    blob: { repository: string; digest: string; path: string; first: Response; whenEnded: () => void },
  ): Promise<void> {
    const { repository, digest, path } = blob;
    const { records, storage, digests, log, upstream } = this.services;
    const warn = (what: string, error: unknown): void => {
      if (this.#stop.signal.aborted) return;
      log("error", `"${digest}" of "${repository}" ${what}: ${(error as Error).message}`);
    };
    try {
      await this.#receive(download, blob);
    } catch (error) {
      download.failure = error as Error;
      warn(`did not come from "${upstream.name}"`, error);
    }
    try {
      if (!download.failure) {
        await digests.run(digest, async () => {
          await storage.put(digest, path);
          records.addBlob(repository, { digest, size: download.size });
        });
      }
    } catch (error) {
      // Who reads it gets it whole all the same.
      warn("cannot be kept", error);
    }
    download.isVerified = !download.failure;
    await rm(path, { force: true });
    blob.whenEnded();
    progress(download);
    await release(download);
  }

  async #receive(
    download: Download,
    { repository, digest, first }: { repository: string; digest: string; first: Response },
  ): Promise<void> {
    const { upstream } = this.services;
    const { size, file } = download;
    const hasher = new Bun.CryptoHasher(algorithmOf(digest));
    let opened: Response | undefined = first;
    const again = (offsetBytes: number): Promise<Response> => {
      const response = opened;
      opened = undefined;
      return response ? Promise.resolve(response) : upstream.blob(repository, digest, offsetBytes);
    };
    const descriptor = { digest, size, mediaType: "application/octet-stream" };
    for await (const bytes of readBlob(descriptor, { open: again, signal: this.#stop.signal })) {
      if (download.writtenBytes + bytes.length > size)
        throw new Error(`it has more than the ${size} bytes that were announced`);
      hasher.update(bytes);
      for (let done = 0; done < bytes.length;) done += (await file.write(bytes, done)).bytesWritten;
      download.writtenBytes += bytes.length;
      progress(download);
    }
    const found = `${algorithmOf(digest)}:${hasher.digest("hex")}`;
    if (found !== digest || download.writtenBytes !== size) throw new Error(`its bytes are "${found}"`);
  }

  /** The file from a byte on, as it grows. Taken hold of at once, so that the file is not closed before the first read. */
  #follow(download: Download, { start, end }: ByteRange): ReadableStream<Uint8Array> {
    download.users++;
    let position = start;
    let isHeld = true;
    const letGo = async (): Promise<void> => {
      if (!isHeld) return;
      isHeld = false;
      await release(download);
    };
    return new ReadableStream({
      pull: async (controller) => {
        try {
          if (position < end) {
            const bytes = await readGrown(download, { position, end });
            position += bytes.length;
            controller.enqueue(bytes);
          }
          if (position < end) return;
          await letGo();
          controller.close();
        } catch (error) {
          await letGo();
          controller.error(error);
        }
      },
      cancel: letGo,
    });
  }
}

/** The next bytes, once there are any. */
async function readGrown(
  download: Download,
  { position, end }: { position: number; end: number },
): Promise<Uint8Array> {
  for (;;) {
    const limit = download.isVerified ? download.size : Math.min(download.writtenBytes, download.size - 1);
    const length = Math.min(limit, end, position + readBytes) - position;
    if (length > 0) {
      const buffer = new Uint8Array(length);
      const { bytesRead } = await download.file.read(buffer, 0, length, position);
      return buffer.subarray(0, bytesRead);
    }
    if (download.failure) throw new UpstreamDown(download.from, download.failure);
    await download.moved.promise;
  }
}

function progress(download: Download): void {
  const { resolve } = download.moved;
  download.moved = Promise.withResolvers<void>();
  resolve();
}

async function release(download: Download): Promise<void> {
  download.users--;
  if (download.users === 0) await download.file.close();
}
