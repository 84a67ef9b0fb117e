import type { Descriptor } from "../spec/index.ts";

/** Where a travelling cache's blobs are: a repository of a registry, or a folder of the client. */
export interface CachePlace {
  /** The cache's manifest as it is; its digest is verified where it is known. */
  manifest(): Promise<Uint8Array>;
  /** The bytes come unverified. */
  blob(blob: Descriptor, signal: AbortSignal): AsyncIterable<Uint8Array>;
  has(digest: string): Promise<boolean>;
  put(blob: Descriptor, open: () => AsyncIterable<Uint8Array>): Promise<void>;
  putManifest(bytes: Uint8Array, descriptor: Descriptor): Promise<void>;
}
