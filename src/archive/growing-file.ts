import { openSync } from "node:fs";
import { open } from "node:fs/promises";

const chunkBytes = 1024 * 1024;

/**
 * A file that is still being written, for those who read it meanwhile; one that is whole is `GrowingFile.whole`. Reading waits for the
 * writer, ends at `sizeBytes`, and throws what the writer failed with.
 *
 *     const file = new GrowingFile(path, { sizeBytes });
 *     file.grew(4096); … file.grew(sizeBytes);          // the writer, after each write; `moved` when the file has another name
 *     for await (const chunk of file) …                 // as many readers as want to
 */
export class GrowingFile implements AsyncIterable<Uint8Array> {
  readonly sizeBytes: number;
  #path: string;
  #writtenBytes = 0;
  #failure: { error: unknown } | undefined;
  readonly #watchers = new Set<() => void>();

  constructor(path: string, { sizeBytes }: { sizeBytes: number }) {
    this.#path = path;
    this.sizeBytes = sizeBytes;
  }

  static whole(path: string, { sizeBytes }: { sizeBytes: number }): GrowingFile {
    const file = new GrowingFile(path, { sizeBytes });
    file.grew(sizeBytes);
    return file;
  }

  get writtenBytes(): number {
    return this.#writtenBytes;
  }

  /** Says how many bytes from the start on are there. */
  grew(writtenBytes: number): void {
    this.#writtenBytes = writtenBytes;
    for (const watcher of this.#watchers) watcher();
  }

  moved(path: string): void {
    this.#path = path;
  }

  fail(error: unknown): void {
    this.#failure ??= { error };
    for (const watcher of this.#watchers) watcher();
  }

  /** Throws what the writer failed with. */
  check(): void {
    if (this.#failure) throw this.#failure.error;
  }

  /** Told of growth and failure until the answer is called. */
  watch(watcher: () => void): () => void {
    this.#watchers.add(watcher);
    return () => void this.#watchers.delete(watcher);
  }

  /** A descriptor for reading, which the caller closes; it stays right when the file gets another name. */
  openDescriptor(): number {
    return openSync(this.#path, "r");
  }

  [Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    return this.read();
  }

  /** As iterating, for a reader that may give up. */
  async *read(signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    this.check();
    await using file = await open(this.#path, "r");
    for (let at = 0; at < this.sizeBytes;) {
      while (this.#writtenBytes <= at) {
        this.check();
        signal?.throwIfAborted();
        await this.#change(signal);
      }
      this.check();
      signal?.throwIfAborted();
      const buffer = Buffer.allocUnsafeSlow(Math.min(chunkBytes, this.#writtenBytes - at));
      const { bytesRead } = await file.read(buffer, 0, buffer.length, at);
      if (bytesRead === 0) throw new Error(`"${this.#path}" ends after ${at} of ${this.sizeBytes} bytes`);
      at += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
    this.check();
  }

  async #change(signal: AbortSignal | undefined): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const changed = (): void => resolve();
    const stop = this.watch(changed);
    signal?.addEventListener("abort", changed, { once: true });
    await promise;
    signal?.removeEventListener("abort", changed);
    stop();
  }
}
