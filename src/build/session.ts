import type { CachePlace } from "./cache-place.ts";
import type { Credentials } from "../registry/index.ts";

/** A folder that the engine may read while it is not disposed. */
export interface LocalTree extends AsyncDisposable {
  readonly root: string;
  /**
   * Where the same folder is kept and brought up to date for many builds: names what it holds now. Another name after each change, never
   * one that was there before: digests of its files are remembered under it.
   */
  readonly state?: string;
  /** Whether the folder is this build's alone, goes with it and is not written to: its files may become a layer's. */
  readonly isOwn?: boolean;
}

export interface FilesOptions {
  /** Patterns as .dockerignore has them; absent: everything. */
  readonly include?: readonly string[];
  readonly exclude?: readonly string[];
  /** Paths whose symlinks the client follows, so that their targets come along. */
  readonly followPaths?: readonly string[];
  readonly signal?: AbortSignal;
}

/** An agent's socket on this machine; disposal closes it. */
export interface SshSocket extends AsyncDisposable {
  readonly path: string;
}

/**
 * What the client of a build holds and lends while it lasts. `context` is the build context, `dockerfile` the folder of the
 * Dockerfile; others are named contexts. The lifecycle: asked for lazily, each tree disposed by whoever asked; the session is
 * the client's and outlives the build. Errors: `notFound` for a name that the client does not offer, `unavailable` once it is gone.
 */
export interface BuildSession {
  files(name: string, options?: FilesOptions): Promise<LocalTree>;
  /** Undefined: the client has none of that id. */
  secret(id: string): Promise<Uint8Array | undefined>;
  /** `default` is the client's own agent. Undefined: it forwards none. */
  ssh(id: string): Promise<SshSocket | undefined>;
  /** Of a registry's host; undefined: anonymous. */
  credentials(host: string): Promise<Credentials | undefined>;
  /** A folder of the client that holds caches, read by the digest of a manifest. Undefined, or absent: it offers none. */
  cacheFolder?(
    folder: string,
    options: {
      readonly digest: string | undefined;
      readonly signal: AbortSignal;
      /** `oci`: not a cache's, but a layout with an image. */
      readonly kind?: "local" | "oci";
    },
  ): Promise<CachePlace | undefined>;
}
