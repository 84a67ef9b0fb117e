import type { Database } from "bun:sqlite";
import type { Paths } from "../common/index.ts";
import type { ContentStore } from "../content/index.ts";
import type { Layer, Snapshotter } from "../snapshot/index.ts";
import type { Descriptor, ImageConfig, Platform } from "../spec/index.ts";
import type { ImageTable } from "./image-table.ts";
import type { LayerHolds } from "./layer-holds.ts";

/** One image as it is known here. `id` is `sha256:` and the digest of the config's bytes. */
export interface ImageRecord {
  readonly id: string;
  readonly config: ImageConfig;
  /** Of the top layer; undefined for an image without layers. */
  readonly chainId: string | undefined;
  /** Lowest first. */
  readonly layers: Layer[];
  /** As people write them: `busybox:latest`. */
  readonly repoTags: string[];
  readonly repoDigests: string[];
  /** Id of the image it was built on here, or "". */
  readonly parent: string;
  /** Sum of the layers' files. */
  readonly sizeBytes: number;
  /** RFC 3339, as the config says; the zero time of Go when it says nothing. */
  readonly createdAt: string;
  /** RFC 3339: when a tag was last put on it here; the zero time of Go when never. */
  readonly lastTagTime: string;
}

/** The time that Docker writes where there is none. */
export const zeroTime = "0001-01-01T00:00:00Z";

export interface ImageStoreOptions {
  readonly paths: Paths;
  readonly db: Database;
  readonly content: ContentStore;
  readonly snapshots: Snapshotter;
  /** The Bun executable that `vitrine/bun` carries. */
  readonly bunPath: string;
}

/** What the operations of this room work with. */
export interface ImageServices extends ImageStoreOptions {
  readonly table: ImageTable;
  readonly holds: LayerHolds;
}

export interface CreateImageOptions {
  /** chainIDs of its layers, lowest first; their diffIDs must be those of the config. */
  readonly layers: readonly string[];
  /** Id of the image it was built on here. */
  readonly parent?: string;
  /** A tag that moves to it: `name:tag`. */
  readonly reference?: string;
  /** The blob that carried each layer, where one did; the blobs are kept with the image. Same order as `layers`. */
  readonly blobs?: readonly (Descriptor | undefined)[];
  /** How a registry knows it: written together with the image and its tag. */
  readonly source?: {
    /** With the registry: `docker.io/library/busybox`. */
    readonly repository: string;
    /** Of what its name meant there: the manifest's, or the index's. */
    readonly digest: string;
    readonly manifest: Descriptor;
    readonly layers: readonly Descriptor[];
  };
  /** The indexes that led to it, the outermost first, and how the innermost names it: the tag then stands for all that is in them. */
  readonly indexed?: IndexedImage | undefined;
  /** False: an image between steps, which need not outlive a power cut until `sync`, or until something names it. It has no name yet. */
  readonly lasting?: boolean;
}

export interface IndexedImage {
  readonly indexes: readonly Descriptor[];
  readonly manifest: Descriptor;
  readonly platform: Platform;
  /** Digests of the content that the index attaches to it, which is here. */
  readonly attached?: readonly string[];
}

/** Containers made of an image; `running` ones cannot be overruled. */
export type ImageUsers = (imageId: string) => { id: string; running: boolean }[];

export type DeletedItem = { Untagged: string } | { Deleted: string };

/** Filters of list calls: name → values. */
export type Filters = ReadonlyMap<string, readonly string[]>;
