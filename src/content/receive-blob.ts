import { closeSync, openSync, readdirSync, rmSync, statSync } from "node:fs";
import { open, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { GrowingFile } from "../archive/index.ts";
import { EngineError } from "../common/index.ts";

/** What a cut download leaves is taken up again for so long after its last byte. */
const partialLifetimeMs = 24 * 60 * 60 * 1000;
/** Less is sooner asked for again than found. */
const minPartialBytes = 256 * 1024;
const readBytes = 1024 * 1024;

interface Expected {
  readonly digest: string;
  readonly size: number;
}

/** Gives a blob's bytes from a place on. */
export type BlobSource = (fromBytes: number, signal: AbortSignal) => AsyncIterable<Uint8Array>;

/**
 * One blob on its way into `content/incoming/<hex>`, for all who want it at once. It ends when the last of them gives up; what came until
 * then stays, and the next one begins with it. Bytes that are not the digest's leave nothing.
 */
export class BlobReceiver {
  readonly file: GrowingFile;
  readonly done: Promise<void>;
  readonly #path: string;
  readonly #expected: Expected;
  readonly #abort = new AbortController();
  readonly #waiting = new Set<AbortSignal>();

  /** `keep` is called with the whole, verified and synced file. */
  constructor(options: {
    incoming: string;
    expected: Expected;
    source: BlobSource;
    keep: (path: string) => Promise<string>;
  }) {
    this.#expected = options.expected;
    this.#path = partialPath(options.incoming, options.expected.digest);
    closeSync(openSync(this.#path, "a", 0o600));
    this.file = new GrowingFile(this.#path, { sizeBytes: options.expected.size });
    this.done = this.#run(options);
    this.done.catch(() => {});
  }

  get isGivenUp(): boolean {
    return this.#abort.signal.aborted;
  }

  join(signal: AbortSignal): void {
    this.#waiting.add(signal);
    const leave = (): void => {
      this.#waiting.delete(signal);
      if (this.#waiting.size === 0) this.#abort.abort(signal.reason);
    };
    signal.addEventListener("abort", leave, { once: true });
    if (signal.aborted) leave();
    const forget = (): void => signal.removeEventListener("abort", leave);
    this.done.then(forget, forget);
  }

  async #run({ source, keep }: { source: BlobSource; keep: (path: string) => Promise<string> }): Promise<void> {
    try {
      await this.#write(source);
      const path = await keep(this.#path);
      this.file.moved(path);
      this.file.grew(this.#expected.size);
    } catch (error) {
      this.file.fail(error);
      const isWrong = error instanceof EngineError && error.code === "invalidArgument";
      if (isWrong || this.file.writtenBytes < minPartialBytes) rmSync(this.#path, { force: true });
      throw error;
    }
  }

  async #write(source: BlobSource): Promise<void> {
    const { digest, size } = this.#expected;
    const { signal } = this.#abort;
    const hasher = new Bun.CryptoHasher("sha256");
    await using file = await open(this.#path, "r+", 0o600);
    const resumedBytes = await this.#takeUp(file, hasher);
    let at = resumedBytes;
    if (at < size) {
      for await (const chunk of source(at, signal)) {
        signal.throwIfAborted();
        if (at + chunk.length > size) throw wrongSize(this.#expected, "more");
        hasher.update(chunk);
        for (let done = 0; done < chunk.length;) {
          done += (await file.write(chunk, done, chunk.length - done, at + done)).bytesWritten;
        }
        at += chunk.length;
        // The last byte is told of when all of them are verified.
        if (at < size) this.file.grew(at);
      }
    }
    if (at !== size) throw wrongSize(this.#expected, `${at}`);
    const found = `sha256:${hasher.digest("hex")}`;
    if (found !== digest) {
      throw new EngineError("invalidArgument", `The content should be "${digest}" and is "${found}"`, {
        data: { resumed: resumedBytes > 0 },
      });
    }
    await file.sync();
  }

  /** Reads what an earlier attempt left. */
  async #takeUp(file: FileHandle, hasher: Bun.CryptoHasher): Promise<number> {
    const { size } = await file.stat();
    if (size > this.#expected.size) {
      await file.truncate(0);
      return 0;
    }
    const buffer = Buffer.allocUnsafeSlow(readBytes);
    let at = 0;
    while (at < size) {
      this.#abort.signal.throwIfAborted();
      const { bytesRead } = await file.read(buffer, 0, buffer.length, at);
      if (bytesRead === 0) break;
      hasher.update(buffer.subarray(0, bytesRead));
      at += bytesRead;
      if (at < this.#expected.size) this.file.grew(at);
    }
    return at;
  }
}

function wrongSize({ digest, size }: Expected, found: string): EngineError {
  return new EngineError("invalidArgument", `The blob "${digest}" should have ${size} bytes and has ${found}`);
}

function partialPath(incoming: string, digest: string): string {
  return join(incoming, digest.slice("sha256:".length));
}

/** Deletes what cut downloads left long ago, and everything else there that is none and not `inUse`. */
export function sweepPartials(incoming: string, inUse: (name: string) => boolean): void {
  for (const name of readdirSync(incoming)) {
    if (inUse(name)) continue;
    const path = join(incoming, name);
    const stat = statSync(path, { throwIfNoEntry: false });
    if (!stat) continue;
    const isPartial = /^[0-9a-f]{64}$/.test(name) && stat.isFile() && stat.size >= minPartialBytes;
    if (!isPartial || Date.now() - stat.mtimeMs > partialLifetimeMs) rmSync(path, { recursive: true, force: true });
  }
}
