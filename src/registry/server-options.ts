import type { RegistryStorage } from "./storage-contract.ts";
import type { AccessPolicy } from "./server-access.ts";
import type { RetentionRule } from "./server-retention.ts";
import type { UpstreamOptions } from "./server-upstream.ts";
import type { WebhookSettings } from "./server-webhook-settings.ts";

/** Sizes in bytes, times in milliseconds. */
export interface RegistryLimits {
  /** The specification asks registries to take at least 4 MiB. */
  readonly manifestBytes: number;
  readonly blobBytes: number;
  /** All blobs of one repository together; a blob that is there already counts where it is mounted, too. */
  readonly repositoryBytes: number;
  readonly uploadsAtOnce: number;
  /** Entries of one page of tags, repositories or referrers, whatever a client asks for. */
  readonly pageEntries: number;
  /** A connection on which nothing moves for so long is closed. At most 255,000. */
  readonly idleMs: number;
  /** An upload that nobody touched for so long is taken away. */
  readonly uploadExpiryMs: number;
  /** What no manifest needs stays for so long after it was last pushed, mounted or asked for: a push in progress counts on it. */
  readonly graceMs: number;
}

export const defaultRegistryLimits: RegistryLimits = {
  manifestBytes: 4 * 1024 * 1024,
  blobBytes: 64 * 1024 ** 3,
  repositoryBytes: Number.MAX_SAFE_INTEGER,
  uploadsAtOnce: 1000,
  pageEntries: 1000,
  idleMs: 120_000,
  uploadExpiryMs: 24 * 3_600_000,
  graceMs: 3_600_000,
};

/** How `serveRegistry` serves. All but `root` may be left out. */
export interface RegistryServerOptions {
  /** Records, uploads in progress and, unless `storage` says otherwise, blobs. One server a root. */
  readonly root: string;
  /** Default 127.0.0.1. */
  readonly hostname?: string;
  /** 0, the default, takes a free one. */
  readonly port?: number;
  readonly storage?: RegistryStorage;
  /** Who may do what; without it, anyone everything. */
  readonly access?: AccessPolicy;
  /** PEM texts. */
  readonly tls?: { readonly certificate: string; readonly key: string };
  /** Refuses every deletion, with UNSUPPORTED. */
  readonly keepEverything?: boolean;
  /** A tag that is there never moves to another manifest: pushing over it is DENIED. It can be deleted by who may delete. */
  readonly immutableTags?: boolean;
  /** Serves GET /metrics for Prometheus; where there are users, to users only. */
  readonly metrics?: boolean;
  /** Makes it a cache of another registry: nothing can be pushed. A root is a cache of one registry for ever, or of none. */
  readonly upstream?: UpstreamOptions;
  /** Who is told of pushes, deletions and pulls. */
  readonly webhooks?: readonly WebhookSettings[];
  /** Which tags and manifests go, before each collection. */
  readonly retention?: readonly RetentionRule[];
  /** How often what nobody needs is collected; 0: only when asked by `collect`. Default ten minutes. */
  readonly collectEveryMs?: number;
  readonly limits?: Partial<RegistryLimits>;
  readonly log?: (level: "info" | "error", message: string) => void;
}
