import type { GraphDriver, Mount } from "../spec/index.ts";

/** A committed, read-only directory of files: what one image layer changes against the layers below it. */
export interface Layer {
  /** sha256 over the diffIDs of this layer and those below (OCI image spec, config.md); the layer's key. */
  readonly chainId: string;
  /** sha256 of the layer's uncompressed archive. */
  readonly diffId: string;
  /** chainID of the layer below. */
  readonly parent: string | undefined;
  readonly directoryId: string;
  readonly sizeBytes: number;
  /** RFC 3339. */
  readonly createdAt: string;
}

/** A path below the root, and what a snapshot did to it: 0 modified, 1 added, 2 deleted. */
export interface Change {
  Path: string;
  Kind: 0 | 1 | 2;
}

/** chainID of the layer below, perhaps not known or not there yet; undefined is nothing. */
export type ParentLayer = string | undefined | Promise<string | undefined>;

/** What an archive must turn out to be. With a chainID, or a parent that is known and a diffID, it is made once for all who ask. */
export interface ExpectedLayer {
  readonly diffId?: string;
  readonly chainId?: string;
  /** Called as soon as other layers may be applied on it, which is before it is synced and recorded where drivers can sync several at once. */
  readonly onPlaced?: () => void;
}

/**
 * Keeps chains of layers and gives a container its root out of them. Two kinds of snapshot: *committed* ones (layers, read-only,
 * named by chainID, shared), and *active* ones (read-write, named by a key that the caller chooses). The lifecycle:
 *
 *     const base = await snapshots.apply(undefined, tar, { diffId });    // an archive becomes a layer
 *     await snapshots.prepare("c1", base.chainId);                       // an empty read-write layer on top of it
 *     for (const mount of snapshots.mounts("c1")) mount it;              // the root shows at mergedDirectory("c1")
 *     …                                                                  // files change
 *     unmount it;
 *     const top = await snapshots.commit("c1");                          // the read-write layer becomes a layer; "c1" is gone
 *     await snapshots.remove("c2"); await snapshots.removeLayer(…);      // the other end of a life
 *
 * A layer or snapshot is recorded after its directories are on disk; what a crash leaves unrecorded goes at the next start.
 * Errors: `notFound` for unknown keys and chainIDs, `alreadyExists`, `conflict` while something is needed or mounted,
 * `resourceExhausted` for a chain that the kernel could not mount, `invalidArgument` for a bad archive or another diffID.
 */
export interface Snapshotter {
  readonly name: string;
  /**
   * An uncompressed layer archive becomes a layer on top of `parent`; the archive's sha256 is the diffID, and must be the
   * expected one. A chain that is here already, or on its way, is returned as it is, and its archive is not read.
   *
   *     const tops = archives.reduce((below, tar) => [...below, snapshots.apply(below.at(-1)?.then(({ chainId }) => chainId), tar)], []);
   *
   * A parent may be a promise: drivers whose layers are directories of their own unpack meanwhile, and end with what needs it (implied
   * directories, hard links to files below, whiteouts of nothing); others wait for it first. Its rejection is the answer's.
   */
  apply(parent: ParentLayer, tar: AsyncIterable<Uint8Array>, expected?: ExpectedLayer): Promise<Layer>;
  layer(chainId: string): Layer | undefined;
  layers(): Layer[];
  /** The layer and all below it, top first. */
  chain(chainId: string): Layer[];
  /**
   * Makes an active snapshot. Unless `hostFiles` is false an init layer stands between the image and the read-write layer: the mount
   * points that a container needs and images lack. Neither `commit` nor `changes` sees it.
   */
  prepare(key: string, parent: string | undefined, options?: { hostFiles?: boolean }): Promise<void>;
  /** What to mount, in order, for the root to show at `mergedDirectory`. */
  mounts(key: string): Mount[];
  mergedDirectory(key: string): string;
  /** Where whoever writes before the snapshot is first mounted puts files: the read-write layer, or the whole tree. */
  diffDirectory(key: string): string;
  /** What shows at `mergedDirectory`, without a mount: diff directories, top first; one whole tree where there are no others. */
  readDirectories(key: string): string[];
  /** Where a layer's files are: its own, or, where the driver keeps whole trees, with all below it. */
  layerDirectory(chainId: string): string;
  /**
   * Turns an unmounted active snapshot into a layer; undefined when it changed nothing. The snapshot is gone afterwards. With
   * `lasting: false` it need not wait for the disk: whoever then writes a record that must outlive a power cut calls `sync` before.
   * A layer that power cut off before that is no layer any more at the next start.
   */
  commit(key: string, options?: { lasting?: boolean }): Promise<Layer | undefined>;
  /** Resolves once every layer that is there now is on disk. */
  sync(): Promise<void>;
  /** As `commit`, on a copy: the snapshot stays and may be mounted. */
  commitCopy(key: string): Promise<Layer | undefined>;
  /** What the snapshot did to the image's files, parents before what they hold, names sorted; rules as `docker diff`'s. */
  changes(key: string): Promise<Change[]>;
  /** Bytes of the read-write layer's files. */
  usage(key: string): Promise<number>;
  /**
   * A layer as archive. For a layer that this engine committed its digest is the diffID; for an applied one the archive has the
   * same files and perhaps other bytes, so that whoever needs the diffID again keeps the blob.
   */
  packLayer(chainId: string): AsyncIterable<Uint8Array>;
  /** Docker's `GraphDriver` for `inspect`. */
  graphDriver(keyOrChainId: string): GraphDriver;
  /** Idempotent. Directories are deleted in the background. */
  remove(key: string): Promise<void>;
  /** Refuses with `conflict` while a layer or snapshot stands on it. Idempotent. */
  removeLayer(chainId: string): Promise<void>;
  /** Keys of the active snapshots. */
  keys(): string[];
  /** Lines for `info`. */
  status(): [string, string][];
}
