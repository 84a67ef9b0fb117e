import { decompress } from "./compression.ts";
import type { GrowingFile } from "./growing-file.ts";

/**
 * A layer's archive in a file, perhaps compressed and perhaps still being written; iterates over its plain bytes. `unpackLayer` gives
 * the file of a large one to a process of its own. `signal` ends whoever reads it.
 */
export class LayerArchive implements AsyncIterable<Uint8Array> {
  readonly file: GrowingFile;
  readonly signal: AbortSignal | undefined;
  /** Its length without compression, once `unpackLayer` has read it. */
  plainBytes: number | undefined;

  constructor(file: GrowingFile, { signal }: { signal?: AbortSignal | undefined } = {}) {
    this.file = file;
    this.signal = signal;
  }

  [Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    return decompress(this.file.read(this.signal));
  }
}
