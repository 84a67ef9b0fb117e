// Caches that builds read from elsewhere, and leave there: in registries, in folders of the client, in images.
import { createHash } from "node:crypto";
import { EngineError, toEngineError } from "../common/index.ts";
import type { ImageStore } from "../image/index.ts";
import { maxManifestBytes, parseManifest } from "../registry/index.ts";
import { isDigest, mediaTypes, type Descriptor } from "../spec/index.ts";
import type { BuildCache, CacheRecord } from "./build-cache.ts";
import type { BuildProgress } from "./build-progress.ts";
import {
  cacheConfigType,
  encodeCacheConfig,
  encodeInlineCache,
  inlineCacheMember,
  maxCacheConfigBytes,
  parseCacheConfig,
  parseInlineCache,
  type CacheContents,
  type CachedLayer,
  type CacheEntry,
} from "./cache-config.ts";
import type { CacheSource, CacheTarget } from "./cache-options.ts";
import type { CachePlace } from "./cache-place.ts";
import type { Executor } from "./executor.ts";
import type { ImportedCache, KnownLayer } from "./lazy-layers.ts";
import type { BuildSession } from "./session.ts";

interface Travel {
  readonly executor: Executor;
  readonly session: BuildSession;
  readonly progress: BuildProgress;
  readonly signal: AbortSignal;
}

/** Reads what caches hold, but no layer. One that cannot be used is told of and left out. */
export async function importCaches(sources: readonly CacheSource[], travel: Travel): Promise<ImportedCache[]> {
  const found = await Promise.all(
    sources.map(async (source): Promise<ImportedCache[]> => {
      const name = source.type === "registry" ? source.reference : source.folder;
      try {
        const load = async (): Promise<ImportedCache> => {
          const place = await placeOf(source, travel, "pull");
          return { name, place, contents: await readContents(place, travel.signal) };
        };
        return [await asVertex(travel.progress, `importing cache manifest from ${name}`, load)];
      } catch (error) {
        if (travel.signal.aborted) throw error;
        tellUnusable(travel.progress, { name, error: toEngineError(error) });
        return [];
      }
    }),
  );
  return found.flat();
}

/** Says to people why a cache is left out. */
export function tellUnusable(progress: BuildProgress, { name, error }: { name: string; error: EngineError }): void {
  progress.tell({ type: "line", text: `[Warning] The cache of ${name} is not used: ${error.message}\n` });
}

async function readContents(place: CachePlace, signal: AbortSignal): Promise<CacheContents> {
  const bytes = await place.manifest();
  if (bytes.length > maxManifestBytes) throw tooLarge("manifest", bytes.length, maxManifestBytes);
  const config = cacheConfigOf(bytes);
  if (config) return parseCacheConfig(await readBlob(place, { blob: config, signal }));
  const parsed = parseManifest(bytes, "");
  if (parsed.kind === "index") {
    throw new EngineError("notFound", "it is an index of several images, which hold no cache together");
  }
  const { layers, config: blob } = parsed.manifest;
  const image = JSON.parse(Buffer.from(await readBlob(place, { blob, signal })).toString()) as Record<string, unknown>;
  const value = image[inlineCacheMember];
  if (value === undefined) throw new EngineError("notFound", "the image was built without an inline cache");
  const { rootfs } = image as { rootfs?: { diff_ids?: unknown } };
  const diffIds = Array.isArray(rootfs?.diff_ids) ? rootfs.diff_ids.map(String) : [];
  return parseInlineCache({ rootfs: { diff_ids: diffIds } }, { value, blobs: layers });
}

/** The config of a cache, in either of the forms that BuildKit writes; undefined for an image. */
function cacheConfigOf(bytes: Uint8Array): Descriptor | undefined {
  const { config, manifests } = JSON.parse(Buffer.from(bytes).toString("utf8")) as Record<string, unknown>;
  const all = [config, ...(Array.isArray(manifests) ? (manifests as unknown[]) : [])] as (
    Partial<Descriptor> | undefined
  )[];
  const found = all.find((one) => one?.mediaType === cacheConfigType);
  if (!found) return undefined;
  const { digest, size } = found;
  if (typeof digest !== "string" || !isDigest(digest) || typeof size !== "number") {
    throw new EngineError("invalidArgument", "its config has no digest or no size");
  }
  return { mediaType: cacheConfigType, digest, size };
}

async function readBlob(
  place: CachePlace,
  { blob, signal }: { blob: Descriptor; signal: AbortSignal },
): Promise<Uint8Array> {
  if (!(blob.size >= 0 && blob.size <= maxCacheConfigBytes)) throw tooLarge("config", blob.size, maxCacheConfigBytes);
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of place.blob(blob, signal)) {
    length += chunk.length;
    if (length > blob.size) break;
    chunks.push(chunk);
  }
  const bytes = Buffer.concat(chunks);
  if (length !== blob.size || digestOf(bytes) !== blob.digest) {
    throw new EngineError(
      "invalidArgument",
      `its config is not "${blob.digest}" of ${blob.size} bytes, as its manifest says`,
    );
  }
  return bytes;
}

function tooLarge(what: string, size: number, most: number): EngineError {
  return new EngineError("resourceExhausted", `its ${what} has ${size} bytes, and ${most} is the limit`);
}

/** What of a build is worth keeping elsewhere. */
export interface Keepable {
  /** By key: all that the build used or made. */
  readonly used: ReadonlyMap<string, CacheRecord>;
  /** chainIDs of the result, lowest first. */
  readonly layers: readonly string[];
}

/** An inline cache's member of the config of an image with these layers. */
export function inlineCache(cache: BuildCache, { used, layers }: Keepable): Record<string, string> {
  const entries = entriesOf(used, (top) => layers.includes(top));
  return { [inlineCacheMember]: encodeInlineCache(layers, { entries, paths: pathsOf(cache, []) }) };
}

/** Writes the caches that are asked for; answers the manifest of a local one, whose index the client writes. */
export async function exportCaches(
  targets: readonly CacheTarget[],
  {
    keep,
    images,
    cache,
    chain,
    ...travel
  }: Travel & {
    keep: Keepable;
    images: ImageStore;
    cache: BuildCache;
    chain: (top: string) => readonly KnownLayer[];
  },
): Promise<Descriptor | undefined> {
  let local: Descriptor | undefined;
  for (const target of targets) {
    if (target.type === "inline") continue;
    const { mode, type } = target;
    const entries = entriesOf(keep.used, (top) => mode === "max" || keep.layers.includes(top));
    const write = async (): Promise<Descriptor> => {
      const place = await placeOf(target, travel, "pull,push");
      await using carried = images.carry("export build cache");
      const layers = await sendLayers(place, { entries, chain, carried, signal: travel.signal });
      return putCache(place, { layers, entries, paths: pathsOf(cache, layers) });
    };
    try {
      const title = type === "registry" ? "exporting cache to registry" : "exporting cache to client directory";
      const manifest = await asVertex(travel.progress, title, write);
      if (type === "local") local = manifest;
    } catch (error) {
      if (!target.ignoreError || travel.signal.aborted) throw error;
    }
  }
  return local;
}

async function sendLayers(
  place: CachePlace,
  {
    entries,
    chain,
    carried,
    signal,
  }: {
    entries: readonly CacheEntry[];
    chain: (top: string) => readonly KnownLayer[];
    carried: ReturnType<ImageStore["carry"]>;
    signal: AbortSignal;
  },
): Promise<CachedLayer[]> {
  const layers = new Map<string, CachedLayer>();
  for (const { top } of entries) {
    let below: string | undefined;
    for (const { chainId, diffId } of chain(top)) {
      if (!layers.has(chainId)) {
        const { blob, open } = await carried.send(chainId, signal);
        if (!(await place.has(blob.digest))) await place.put(blob, open);
        layers.set(chainId, { chainId, below, diffId, blob: { ...blob, mediaType: mediaTypes.ociLayerGzip } });
      }
      below = chainId;
    }
  }
  return [...layers.values()];
}

async function putCache(
  place: CachePlace,
  {
    layers,
    entries,
    paths,
  }: { layers: readonly CachedLayer[]; entries: readonly CacheEntry[]; paths: ReturnType<typeof pathsOf> },
): Promise<Descriptor> {
  const bytes = encodeCacheConfig(layers, { entries, paths });
  const config = { mediaType: cacheConfigType, digest: digestOf(bytes), size: bytes.length };
  if (!(await place.has(config.digest))) await place.put(config, () => once(bytes));
  const blobs = new Map(layers.map(({ blob }) => [blob.digest, blob]));
  const manifest = Buffer.from(
    JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociManifest, config, layers: [...blobs.values()] }),
  );
  const descriptor = { mediaType: mediaTypes.ociManifest, digest: digestOf(manifest), size: manifest.length };
  await place.putManifest(manifest, descriptor);
  return descriptor;
}

function entriesOf(used: ReadonlyMap<string, CacheRecord>, isWanted: (top: string) => boolean): CacheEntry[] {
  return [...used.values()]
    .filter(({ top }) => top !== "" && isWanted(top))
    .map(({ key, top, createdMs }) => ({ key, top, createdMs }))
    .toSorted((left, right) => (left.key < right.key ? -1 : 1));
}

function pathsOf(
  cache: BuildCache,
  layers: readonly { chainId: string }[],
): { top: string; path: string; digest: string }[] {
  return layers.flatMap(({ chainId }) => cache.pathDigests(chainId).map((one) => ({ top: chainId, ...one })));
}

async function placeOf(
  at: CacheSource | Exclude<CacheTarget, { type: "inline" }>,
  { executor, session, signal }: Travel,
  actions: "pull" | "pull,push",
): Promise<CachePlace> {
  if (at.type === "registry") return executor.cacheRepository(at.reference, { session, signal, actions });
  const digest = "digest" in at ? at.digest : undefined;
  const place = await session.cacheFolder?.(at.folder, { digest, signal });
  if (place) return place;
  throw new EngineError("unsupported", `The build's client does not offer the folder "${at.folder}" for a cache`);
}

async function asVertex<Value>(progress: BuildProgress, name: string, work: () => Promise<Value>): Promise<Value> {
  const vertex = { digest: digestOf(Buffer.from(`${name} ${crypto.randomUUID()}`)), inputs: [], name, cached: false };
  const started = { ...vertex, startedMs: Date.now() };
  const tell = (more: { completedMs?: number; error?: string }): void =>
    progress.tell({
      type: "status",
      status: { vertexes: [{ ...started, ...more }], statuses: [], logs: [], warnings: [] },
    });
  tell({});
  try {
    const value = await work();
    tell({ completedMs: Date.now() });
    return value;
  } catch (error) {
    tell({ completedMs: Date.now(), error: toEngineError(error).message });
    throw error;
  }
}

function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
