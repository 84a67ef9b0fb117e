import { EngineError, parseGoDuration } from "../common/index.ts";
import type { ImageStore } from "../image/index.ts";
import type { Snapshotter } from "../snapshot/index.ts";
import type { CacheUsage } from "../spec/index.ts";
import type { BuildCache, CacheRecord } from "./build-cache.ts";
import type { CacheMounts } from "./cache-mounts.ts";

/** What the cache may hold after a build before the least recently used goes. */
export const cacheBudgetBytes = 20 * 1024 ** 3;

export interface PruneOptions {
  /** What images share too. */
  readonly all: boolean;
  /** `until`, `unused-for` (both: last used longer ago, or before a time), `id`, `type`, `description`. */
  readonly filters: ReadonlyMap<string, readonly string[]>;
  /** The least recently used goes until no more than this is left. */
  readonly keepBytes?: number | undefined;
}

interface CacheParts {
  readonly cache: BuildCache;
  readonly cacheMounts: CacheMounts;
  readonly images: ImageStore;
  readonly snapshots: Snapshotter;
}

export const pruneFilters = ["until", "unused-for", "id", "type", "description"];

/** Least recently used first. */
export function cacheUsage({ cache, cacheMounts, images }: CacheParts): CacheUsage[] {
  cache.flush();
  const shared = new Set(images.list().flatMap((image) => image.layers.map(({ chainId }) => chainId)));
  const records = cache.records().map((record): CacheUsage => ({
    ID: record.key.slice(0, 25),
    Type: "regular",
    Description: record.description,
    InUse: false,
    Shared: record.top !== "" && shared.has(record.top),
    Size: record.sizeBytes,
    ...timesOf(record),
  }));
  const folders = cacheMounts.list().map((folder): CacheUsage => ({
    ID: folder.folder,
    Type: "exec.cachemount",
    Description: `cached mount ${folder.id}`,
    InUse: folder.inUse,
    Shared: false,
    Size: folder.sizeBytes,
    ...timesOf(folder),
  }));
  return [...records, ...folders].toSorted((left, right) => (left.LastUsedAt < right.LastUsedAt ? -1 : 1));
}

function timesOf({
  createdMs,
  usedMs,
  uses,
}: Pick<CacheRecord, "createdMs" | "usedMs" | "uses">): Pick<CacheUsage, "CreatedAt" | "LastUsedAt" | "UsageCount"> {
  const text = (ms: number): string => new Date(ms).toISOString();
  return { CreatedAt: text(createdMs), LastUsedAt: text(usedMs), UsageCount: uses };
}

/**
 * Forgets records and folders of cache mounts, then removes the layers that nothing else needs. What a build uses at this moment
 * stays on disk until it ends. Returns ids, and bytes of what is gone.
 */
export async function pruneCache(
  parts: CacheParts,
  options: PruneOptions,
): Promise<{ deleted: string[]; spaceReclaimed: number }> {
  const chosen = chooseUsage(cacheUsage(parts), options);
  const { cache, cacheMounts, images, snapshots } = parts;
  const ids = new Set(chosen.map(({ ID }) => ID));
  const records = cache.records().filter(({ key }) => ids.has(key.slice(0, 25)));
  const sizes = new Map(snapshots.layers().map(({ chainId, sizeBytes }) => [chainId, sizeBytes]));
  let spaceReclaimed = 0;
  cache.forget(records.map(({ key }) => key));
  const deleted: string[] = records.map(({ key }) => key.slice(0, 25));
  // The longest chains first: a layer goes only when nothing stands on it.
  const chains = records
    .filter(({ top }) => top !== "" && snapshots.layer(top))
    .map(({ top }) => snapshots.chain(top).map(({ chainId }) => chainId))
    .toSorted((left, right) => right.length - left.length);
  for (const chain of chains) {
    for (const chainId of await images.releaseLayers(chain)) spaceReclaimed += sizes.get(chainId) ?? 0;
  }
  for (const { ID, Size, Type } of chosen) {
    if (Type !== "exec.cachemount" || !cacheMounts.remove(ID)) continue;
    deleted.push(ID);
    spaceReclaimed += Size;
  }
  cache.tidy({
    image: (id) => images.find(id) !== undefined,
    layer: (chainId) => snapshots.layer(chainId) !== undefined,
  });
  return { deleted, spaceReclaimed };
}

/** What filters of a prune mean. */
export function filterUsage(usage: readonly CacheUsage[], filters: PruneOptions["filters"]): CacheUsage[] {
  const before = Math.min(...["until", "unused-for"].flatMap((name) => filters.get(name) ?? []).map(timeOf));
  const given = (name: string, isMatch: (value: string) => boolean): boolean =>
    !filters.has(name) || (filters.get(name) ?? []).some(isMatch);
  return usage.filter(
    (one) =>
      Date.parse(one.LastUsedAt) <= before &&
      given("id", (id) => id !== "" && one.ID.startsWith(id)) &&
      given("type", (type) => one.Type === type) &&
      given("description", (text) => one.Description.includes(text)),
  );
}

function chooseUsage(usage: readonly CacheUsage[], { all, filters, keepBytes }: PruneOptions): CacheUsage[] {
  const matching = filterUsage(usage, filters).filter((one) => !one.InUse && (all || !one.Shared));
  if (keepBytes === undefined) return matching;
  let total = usage.reduce((sum, { Size }) => sum + Size, 0);
  const chosen: CacheUsage[] = [];
  for (const one of matching) {
    if (total <= keepBytes) break;
    chosen.push(one);
    total -= one.Size;
  }
  return chosen;
}

/** A duration ago, a date, or seconds since 1970; in milliseconds since 1970. */
function timeOf(text: string): number {
  const durationNs = parseGoDuration(text);
  if (durationNs !== undefined && /[a-zµ]$/.test(text)) return Date.now() - durationNs / 1e6;
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1000;
  const date = Date.parse(text);
  if (Number.isNaN(date))
    throw new EngineError("invalidArgument", `invalid filter 'until=${text}': no duration and no time`);
  return date;
}
