import type { Database } from "bun:sqlite";
import {
  closeSync,
  createReadStream,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  unlinkSync,
} from "node:fs";
import { open, rename } from "node:fs/promises";
import { join } from "node:path";
import { EngineError, newId, type Paths } from "../common/index.ts";
import { syncfs } from "../kernel/index.ts";
import { isDigest, type Descriptor } from "../spec/index.ts";
import { GrowingFile } from "../archive/index.ts";
import { Lease } from "./lease.ts";
import { BlobReceiver, sweepPartials, type BlobSource } from "./receive-blob.ts";

const defaultReadLimitBytes = 8 * 1024 * 1024;
const readChunkBytes = 1024 * 1024;

export interface IngestOptions {
  readonly mediaType: string;
  /** What the bytes must be; without it they name themselves. */
  readonly expected?: { readonly digest: string; readonly size?: number };
  /** Holds the blob from now on. */
  readonly lease: Lease;
  /** False: it need not be on disk yet; whoever writes a record that must be calls `sync` before. */
  readonly lasting?: boolean;
  /** Whoever reads it while it comes is given the file as soon as there is one; nothing may be made of it before the answer. */
  readonly watch?: { readonly sizeBytes: number; readonly begin: (file: GrowingFile) => void };
}

export interface ReceiveOptions {
  readonly mediaType: string;
  readonly expected: { readonly digest: string; readonly size: number };
  readonly lease: Lease;
  /** Where it comes from, unless somebody else is receiving it. */
  readonly source: BlobSource;
  /** Whoever asks gives up by it. */
  readonly signal: AbortSignal;
}

/** A blob that is here, or on its way. */
export interface ReceivedBlob {
  /** Its bytes, for those who do not want to wait for the last; nothing is made of them before `done`. */
  readonly file: GrowingFile;
  readonly done: Promise<void>;
  /** Whether somebody else's source is being read. */
  readonly joined: boolean;
}

/**
 * Blobs by the sha256 of their bytes, as they came: `content/blobs/sha256/<hex>`. A blob lands under a temporary name, is verified,
 * synced and renamed, and is recorded last; what has no record is swept away at the next start.
 *
 *     using lease = content.lease("pull busybox");
 *     const descriptor = await content.ingest(body, { mediaType, expected: { digest, size }, lease });
 *     … write the record that names descriptor.digest, then let the lease go
 */
export class ContentStore {
  readonly #db: Database;
  readonly #runState: Database;
  readonly #blobs: string;
  readonly #incoming: string;
  readonly #held = new Map<string, number>();
  readonly #receiving = new Map<string, BlobReceiver>();
  /** Temporary names that are being written. */
  readonly #writing = new Set<string>();

  /**
   * Sweeps: a file without a record goes, and a record without its file. One store a root at a time. `runState`: another connection to the
   * same file, which need not wait for the disk: whoever needs a blob writes a record after its, and that waits for both.
   */
  constructor(options: { paths: Paths; db: Database; runState?: Database }) {
    this.#db = options.db;
    this.#runState = options.runState ?? options.db;
    this.#blobs = join(options.paths.content, "blobs", "sha256");
    this.#incoming = join(options.paths.content, "incoming");
    mkdirSync(this.#blobs, { recursive: true, mode: 0o700 });
    this.#db.run(
      `CREATE TABLE IF NOT EXISTS blobs (
         digest TEXT PRIMARY KEY, size INTEGER NOT NULL, media_type TEXT NOT NULL, created_at TEXT NOT NULL
       ) STRICT`,
    );
    this.#sweep();
  }

  /**
   * Takes in a stream. A blob that is here already is not read again: the source is cancelled. Throws `invalidArgument` when
   * digest or size differ from what is expected; then nothing stays.
   */
  async ingest(source: AsyncIterable<Uint8Array>, options: IngestOptions): Promise<Descriptor> {
    const { expected, lease, mediaType } = options;
    if (expected) {
      requireDigest(expected.digest);
      lease.add(expected.digest);
      const size = this.#recordedSize(expected.digest);
      if (size !== undefined) {
        await source[Symbol.asyncIterator]().return?.();
        return { mediaType, digest: expected.digest, size };
      }
    }
    const name = `${newId()}.new`;
    const temporary = join(this.#incoming, name);
    this.#writing.add(name);
    const growing = options.watch && new GrowingFile(temporary, options.watch);
    try {
      const { lasting = true } = options;
      const written = { temporary, expected, growing, begin: options.watch?.begin, lasting };
      const { digest, size } = await this.#write(source, written);
      lease.add(digest);
      await rename(temporary, this.#path(digest));
      growing?.moved(this.#path(digest));
      if (lasting) await syncDirectory(this.#blobs);
      this.#record({ digest, size, mediaType });
      growing?.grew(size);
      return { mediaType, digest, size };
    } catch (error) {
      growing?.fail(error);
      throw error;
    } finally {
      this.#writing.delete(name);
      rmSync(temporary, { force: true });
    }
  }

  /**
   * As `ingest`, for a large blob: it may be read while it comes, all who ask at once share one download, and what came before a cut or
   * the engine's end is taken up again. `done` throws as `ingest` does; with `data.resumed` it is worth asking again.
   */
  async receive({ mediaType, expected, lease, source, signal }: ReceiveOptions): Promise<ReceivedBlob> {
    const { digest } = expected;
    requireDigest(digest);
    lease.add(digest);
    for (let running = this.#receiving.get(digest); running?.isGivenUp; running = this.#receiving.get(digest)) {
      await running.done.catch(() => {});
    }
    const size = this.#recordedSize(digest);
    if (size !== undefined) {
      const file = GrowingFile.whole(this.#path(digest), { sizeBytes: size });
      return { file, done: Promise.resolve(), joined: false };
    }
    const running = this.#receiving.get(digest);
    const receiver = running ?? this.#startReceiving({ mediaType, expected, source });
    receiver.join(signal);
    return { file: receiver.file, done: receiver.done, joined: running !== undefined };
  }

  #startReceiving(options: Pick<ReceiveOptions, "mediaType" | "expected" | "source">): BlobReceiver {
    const { mediaType, expected, source } = options;
    const { digest, size } = expected;
    const keep = async (path: string): Promise<string> => {
      await rename(path, this.#path(digest));
      await syncDirectory(this.#blobs);
      this.#record({ digest, size, mediaType });
      return this.#path(digest);
    };
    const receiver = new BlobReceiver({ incoming: this.#incoming, expected, source, keep });
    this.#receiving.set(digest, receiver);
    const forget = (): void => void this.#receiving.delete(digest);
    receiver.done.then(forget, forget);
    return receiver;
  }

  #record({ digest, size, mediaType }: Descriptor): void {
    this.#runState.run("INSERT OR IGNORE INTO blobs VALUES (?, ?, ?, ?)", [
      digest,
      size,
      mediaType,
      new Date().toISOString(),
    ]);
  }

  /** As `ingest`, for bytes in memory: configs and manifests. */
  ingestBytes(bytes: Uint8Array, options: { mediaType: string; lease: Lease; lasting?: boolean }): Promise<Descriptor> {
    const digest = `sha256:${new Bun.CryptoHasher("sha256").update(bytes).digest("hex")}`;
    return this.ingest(one(bytes), { ...options, expected: { digest, size: bytes.length } });
  }

  /** Resolves once every blob that is there now is on disk. */
  sync(): Promise<void> {
    return syncfs(this.#blobs);
  }

  has(digest: string): boolean {
    return this.#recordedSize(digest) !== undefined;
  }

  /** Bytes of a blob. Throws `notFound`. */
  sizeOf(digest: string): number {
    const size = this.#recordedSize(digest);
    if (size === undefined) throw new EngineError("notFound", `No blob "${digest}" is in the content store`);
    return size;
  }

  /** Digests of all blobs. */
  digests(): string[] {
    return this.#db
      .query<{ digest: string }, []>("SELECT digest FROM blobs ORDER BY digest")
      .all()
      .map((row) => row.digest);
  }

  /** A blob's file, for `LayerArchive`. Throws as `open` does. */
  file(digest: string): GrowingFile {
    const sizeBytes = this.sizeOf(digest);
    const path = this.#path(digest);
    if (statSync(path, { throwIfNoEntry: false })?.size !== sizeBytes) {
      throw new EngineError(
        "internal",
        `The blob "${digest}" does not have the ${sizeBytes} bytes it was recorded with`,
      );
    }
    return GrowingFile.whole(path, { sizeBytes });
  }

  /** A blob's bytes in large chunks. Throws `notFound` at once, `internal` when the file is not what it was. */
  open(digest: string): AsyncIterable<Uint8Array> {
    const size = this.sizeOf(digest);
    const fd = openSync(this.#path(digest), "r");
    if (fstatSync(fd).size !== size) {
      closeSync(fd);
      throw new EngineError("internal", `The blob "${digest}" does not have the ${size} bytes it was recorded with`);
    }
    return createReadStream("", { fd, highWaterMark: readChunkBytes }) as AsyncIterable<Uint8Array>;
  }

  /** A small blob, whole and verified again. Throws `resourceExhausted` when it is larger than `maxBytes`. */
  readBytes(digest: string, maxBytes: number = defaultReadLimitBytes): Uint8Array {
    const size = this.sizeOf(digest);
    if (size > maxBytes) {
      throw new EngineError(
        "resourceExhausted",
        `The blob "${digest}" has ${size} bytes, and ${maxBytes} is the limit`,
      );
    }
    const bytes = readFileSync(this.#path(digest));
    if (`sha256:${new Bun.CryptoHasher("sha256").update(bytes).digest("hex")}` !== digest) {
      throw new EngineError("internal", `The blob "${digest}" is damaged on disk`);
    }
    return bytes;
  }

  /** `purpose` is for people: it shows in errors. */
  lease(purpose: string): Lease {
    return new Lease(purpose, this.#held);
  }

  /** Deletes every blob that is neither referenced nor held by a lease. Sizes in bytes. */
  async collect(isReferenced: (digest: string) => boolean): Promise<{ deleted: string[]; spaceReclaimed: number }> {
    const deleted: string[] = [];
    let spaceReclaimed = 0;
    for (const digest of this.digests()) {
      // Asked right before the deletion: a lease may have been taken while the loop had its turn.
      if (this.#held.has(digest) || isReferenced(digest)) continue;
      const size = this.#recordedSize(digest) ?? 0;
      this.#db.run("DELETE FROM blobs WHERE digest = ?", [digest]);
      rmSync(this.#path(digest), { force: true });
      deleted.push(digest);
      spaceReclaimed += size;
      if (deleted.length % 64 === 0) await new Promise<void>((resolve) => setImmediate(resolve));
    }
    this.#sweepIncoming();
    return { deleted, spaceReclaimed };
  }

  #sweepIncoming(): void {
    sweepPartials(this.#incoming, (name) => this.#writing.has(name) || this.#receiving.has(`sha256:${name}`));
  }

  async #write(
    source: AsyncIterable<Uint8Array>,
    {
      temporary,
      expected,
      growing,
      begin,
      lasting,
    }: {
      temporary: string;
      expected: IngestOptions["expected"];
      growing: GrowingFile | undefined;
      begin: ((file: GrowingFile) => void) | undefined;
      lasting: boolean;
    },
  ): Promise<{ digest: string; size: number }> {
    const hasher = new Bun.CryptoHasher("sha256");
    let size = 0;
    await using file = await open(temporary, "wx", 0o600);
    if (growing) begin?.(growing);
    for await (const chunk of source) {
      size += chunk.length;
      if (expected?.size !== undefined && size > expected.size) break;
      hasher.update(chunk);
      for (let done = 0; done < chunk.length;) done += (await file.write(chunk, done)).bytesWritten;
      // The last byte is told of when all of them are verified.
      if (growing && size < growing.sizeBytes) growing.grew(size);
    }
    if (expected?.size !== undefined && size !== expected.size) {
      const found = size > expected.size ? "more" : `${size}`;
      throw new EngineError(
        "invalidArgument",
        `The blob "${expected.digest}" should have ${expected.size} bytes and has ${found}`,
      );
    }
    const digest = `sha256:${hasher.digest("hex")}`;
    if (expected && digest !== expected.digest) {
      throw new EngineError("invalidArgument", `The content should be "${expected.digest}" and is "${digest}"`);
    }
    if (lasting) await file.sync();
    return { digest, size };
  }

  #recordedSize(digest: string): number | undefined {
    return this.#db.query<{ size: number }, [string]>("SELECT size FROM blobs WHERE digest = ?").get(digest)?.size;
  }

  #path(digest: string): string {
    requireDigest(digest);
    return join(this.#blobs, digest.slice("sha256:".length));
  }

  #sweep(): void {
    mkdirSync(this.#incoming, { recursive: true, mode: 0o700 });
    this.#sweepIncoming();
    const recorded = new Map(
      this.#db
        .query<{ digest: string; size: number }, []>("SELECT digest, size FROM blobs")
        .all()
        .map((row) => [row.digest, row.size]),
    );
    for (const name of readdirSync(this.#blobs)) {
      const path = join(this.#blobs, name);
      const size = recorded.get(`sha256:${name}`);
      // A size that differs is what a power cut leaves of a file that was not synced.
      if (size === undefined || statSync(path).size !== size) unlinkSync(path);
    }
    for (const digest of recorded.keys()) {
      if (!existsSync(this.#path(digest))) this.#db.run("DELETE FROM blobs WHERE digest = ?", [digest]);
    }
  }
}

async function* one(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

function requireDigest(digest: string): void {
  if (!isDigest(digest)) throw new EngineError("invalidArgument", `"${digest}" is no sha256 digest`);
}

/** A rename is durable once the directory that holds the name is. */
async function syncDirectory(path: string): Promise<void> {
  await using directory = await open(path, "r");
  await directory.sync();
}
