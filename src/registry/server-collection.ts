import type { RegistryLimits } from "./server-options.ts";
import type { RegistryRecords } from "./server-records.ts";
import { expireUnused, retire, type RetentionRule, type Retired } from "./server-retention.ts";
import type { Turns } from "./server-turns.ts";
import type { Uploads } from "./server-uploads.ts";
import type { RegistryStorage } from "./storage-contract.ts";

export interface CollectionReport {
  /** By rules of retention, or because nobody asked a cache for it. */
  readonly tagsDeleted: number;
  readonly manifestsDeleted: number;
  readonly uploadsExpired: number;
  readonly linksDropped: number;
  readonly blobsDeleted: number;
  readonly bytesReclaimed: number;
}

/**
 * Takes away what nobody needs, while pushes go on. A blob stays as long as a repository links it; a link stays as long as a manifest of
 * that repository needs it, or it was pushed, mounted or asked for within the grace time. A push that was told "it is here" thus has
 * the grace time to end in a manifest; a manifest that comes later is refused with MANIFEST_BLOB_UNKNOWN, never stored without its blobs,
 * since each step below is one transaction, and a blob's bytes go in the turn in which a push of them would come.
 */
export async function collectGarbage(services: {
  records: RegistryRecords;
  storage: RegistryStorage;
  uploads: Uploads;
  digests: Turns;
  limits: RegistryLimits;
  retention: readonly RetentionRule[];
  /** Of a cache: after how long what nobody asked for goes. */
  ttlMs: number | undefined;
  /** Is told of each tag and manifest that goes by a rule. */
  whenRetired: (retired: Retired) => void;
}): Promise<CollectionReport> {
  const { records, storage, uploads, digests, limits, retention, ttlMs } = services;
  const nowMs = Date.now();
  const uploadsExpired = await uploads.expire(nowMs - limits.uploadExpiryMs);
  const retired =
    ttlMs === undefined
      ? retire(records, { rules: retention, apply: true, graceMs: limits.graceMs })
      : expireUnused(records, nowMs - ttlMs);
  for (const one of retired) services.whenRetired(one);
  records.dropStrayUses();
  const linksDropped =
    ttlMs === undefined ? records.dropIdleLinks(nowMs - limits.graceMs) : records.dropUnusedLinks(nowMs - ttlMs);
  let blobsDeleted = 0;
  let bytesReclaimed = 0;
  for (const { digest, size } of records.unlinkedBlobs()) {
    await digests.run(digest, async () => {
      if (!records.forgetUnlinkedBlob(digest)) return;
      await storage.remove(digest);
      blobsDeleted++;
      bytesReclaimed += size;
    });
  }
  const tagsDeleted = retired.filter(({ tag }) => tag !== undefined).length;
  const manifestsDeleted = retired.length - tagsDeleted;
  return { tagsDeleted, manifestsDeleted, uploadsExpired, linksDropped, blobsDeleted, bytesReclaimed };
}

/** Takes away bytes that no record names: a server that was killed between storing and recording left them. Returns how many. */
export async function sweepStorage(services: {
  records: RegistryRecords;
  storage: RegistryStorage;
  digests: Turns;
}): Promise<number> {
  const { records, storage, digests } = services;
  let swept = 0;
  for await (const digest of storage.digests()) {
    if (records.blobSize(digest) !== undefined) continue;
    await digests.run(digest, async () => {
      if (records.blobSize(digest) !== undefined) return;
      await storage.remove(digest);
      swept++;
    });
  }
  return swept;
}
