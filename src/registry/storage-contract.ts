/** Part of a blob: `start` and `end` are byte offsets, `end` is not included. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/**
 * Where a registry keeps the bytes of blobs, by their digest. It knows nothing of repositories: records say what may be served and
 * what is needed. Lifecycle of a blob: the server writes and verifies a staged file, `put` takes it over, `open` reads it any number of
 * times, `remove` ends it. The server never calls `put` and `remove` of one digest at once.
 *
 *     await storage.put("sha256:…", "/root/uploads/…");     // whole and durable when it resolves; the staged file is gone
 *     return new Response(storage.open("sha256:…", { start: 0, end: 10 }));
 */
export interface RegistryStorage {
  /** For people: `folder "/var/lib/…"`. */
  readonly description: string;
  /** Takes over a verified file. After a crash the blob is there whole, or not at all. Putting what is there already changes nothing. */
  put(digest: string, stagedPath: string): Promise<void>;
  /** Bytes of the blob, or undefined when it is not there. */
  size(digest: string): Promise<number | undefined>;
  /** The bytes, read as they are asked for. The caller knows that the blob is there and how long it is. */
  open(digest: string, range?: ByteRange): Blob | ReadableStream<Uint8Array>;
  /** Where a client gets the bytes itself, for some minutes; undefined where it must be served. */
  address?(digest: string): string | undefined;
  /** Idempotent. */
  remove(digest: string): Promise<void>;
  /** Every digest that is there, in no order. */
  digests(): AsyncIterable<string>;
}
