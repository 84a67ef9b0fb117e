// BuildKit's form of a cache that travels (moby/buildkit, cache/remotecache/v1/spec.go): layers, and which keys have them as results.
import { EngineError } from "../common/index.ts";
import { chainIdsOf } from "../image/index.ts";
import { isDigest, mediaTypes, type Descriptor } from "../spec/index.ts";

export const cacheConfigType = "application/vnd.buildkit.cacheconfig.v0";
/** The member of an image's config that an inline cache is in: base64 of the records' JSON. */
export const inlineCacheMember = "moby.buildkit.cache.v0";
export const maxCacheConfigBytes = 32 * 1024 * 1024;
const maxLayers = 10_000;
const maxDepth = 1024;
const maxRecords = 200_000;

/** A layer that is in a cache, and perhaps not here. */
export interface CachedLayer {
  readonly chainId: string;
  /** chainID of the layer below. */
  readonly below: string | undefined;
  readonly diffId: string;
  readonly blob: Descriptor;
}

/** What a cache knows, by our own content keys; other builders' keys match nothing here. */
export interface CacheContents {
  /** By chainID. */
  readonly layers: ReadonlyMap<string, CachedLayer>;
  readonly records: ReadonlyMap<string, { readonly top: string; readonly createdMs: number }>;
  /** Digests of files in layers, which keys of copies are made of, by `chainID path`. */
  readonly paths: ReadonlyMap<string, string>;
}

/** What goes into a cache: chains of layers, lowest first, with the keys that have them. */
export interface CacheEntry {
  readonly key: string;
  readonly top: string;
  readonly createdMs: number;
}

/** The config's JSON. `layers` holds those below each before it. */
export function encodeCacheConfig(
  layers: readonly CachedLayer[],
  {
    entries,
    paths,
  }: { entries: readonly CacheEntry[]; paths: readonly { top: string; path: string; digest: string }[] },
): Uint8Array {
  const places = new Map(layers.map(({ chainId }, index) => [chainId, index] as const));
  const config = {
    layers: layers.map(({ below, diffId, blob: { digest, mediaType, size } }) => ({
      blob: digest,
      parent: below === undefined ? -1 : (places.get(below) ?? -1),
      annotations: { mediaType, diffID: diffId, size },
    })),
    records: entries.map(({ key, top, createdMs }) => ({
      digest: `sha256:${key}`,
      layers: [{ layer: places.get(top) ?? -1, createdAt: new Date(createdMs).toISOString() }],
    })),
    "vitrine.paths": paths.map(({ top, path, digest }) => ({ layer: places.get(top) ?? -1, path, digest })),
  };
  return Buffer.from(JSON.stringify(config));
}

/** The value of `inlineCacheMember`; results are places among the image's own layers. */
export function encodeInlineCache(
  chainIds: readonly string[],
  {
    entries,
    paths,
  }: { entries: readonly CacheEntry[]; paths: readonly { top: string; path: string; digest: string }[] },
): string {
  const layers = chainIds.map((chainId, index) => ({ chainId, below: chainIds[index - 1], diffId: "", blob: noBlob }));
  const whole = JSON.parse(Buffer.from(encodeCacheConfig(layers, { entries, paths })).toString()) as {
    records: unknown;
  };
  return Buffer.from(JSON.stringify(whole.records)).toString("base64");
}

const noBlob: Descriptor = { mediaType: "", digest: "", size: 0 };

/** Reads a cache's config. Throws invalidArgument by what is wrong: nothing of such a cache is used. */
export function parseCacheConfig(bytes: Uint8Array): CacheContents {
  const config = objectOf(parseJson(bytes), "it");
  const written = listOf(config["layers"], { name: "layers", most: maxLayers }).map(parseLayer);
  const chains = written.map((_, index) => chainOf(written, index));
  const layers = new Map<string, CachedLayer>();
  const tops = chains.map((chain) => {
    const chainIds = chainIdsOf(chain.map(({ diffId }) => diffId));
    const chainId = chainIds.at(-1) ?? "";
    const last = chain.at(-1);
    if (last) layers.set(chainId, { chainId, below: chainIds.at(-2), diffId: last.diffId, blob: last.blob });
    return chainId;
  });
  return { layers, records: parseRecords(config["records"], tops), paths: parsePaths(config["vitrine.paths"], tops) };
}

/** Reads the cache inside an image's config. `blobs` are the manifest's layers, lowest first. */
export function parseInlineCache(
  config: { readonly rootfs: { readonly diff_ids: readonly string[] } },
  { value, blobs }: { value: unknown; blobs: readonly Descriptor[] },
): CacheContents {
  if (typeof value !== "string") throw invalid(`"${inlineCacheMember}" is no text`);
  const diffIds = config.rootfs.diff_ids;
  if (diffIds.length !== blobs.length || !diffIds.every(isDigest))
    throw invalid("the image's layers are not as its config says");
  const tops = chainIdsOf(diffIds);
  const layers = tops.map((chainId, index): CachedLayer => {
    return { chainId, below: tops[index - 1], diffId: diffIds[index] ?? "", blob: blobs[index] ?? noBlob };
  });
  const records = parseRecords(parseJson(Buffer.from(value, "base64")), tops);
  return { layers: new Map(layers.map((layer) => [layer.chainId, layer])), records, paths: new Map() };
}

interface WrittenLayer {
  readonly blob: Descriptor;
  readonly diffId: string;
  readonly parent: number;
}

function parseLayer(value: unknown, index: number): WrittenLayer {
  const { blob, parent, annotations } = objectOf(value, `layer ${index}`);
  const { mediaType, diffID, size } = objectOf(annotations ?? {}, `layer ${index}'s annotations`);
  if (typeof blob !== "string" || !isDigest(blob)) throw invalid(`layer ${index} has no digest`);
  if (typeof diffID !== "string" || !isDigest(diffID)) throw invalid(`layer ${index} has no diffID`);
  if (typeof size !== "number" || !Number.isSafeInteger(size) || size < 0) throw invalid(`layer ${index} has no size`);
  if (parent !== undefined && !Number.isSafeInteger(parent)) throw invalid(`layer ${index} has no parent`);
  const type = typeof mediaType === "string" ? mediaType : mediaTypes.ociLayerGzip;
  return {
    blob: { mediaType: type, digest: blob, size },
    diffId: diffID,
    parent: (parent as number | undefined) ?? -1,
  };
}

/** Lowest first. A layer that stands on itself, however far below, is refused. */
function chainOf(layers: readonly WrittenLayer[], index: number): WrittenLayer[] {
  const chain: WrittenLayer[] = [];
  for (let at = index; at >= 0;) {
    const layer = layers[at];
    if (!layer) throw invalid(`layer ${index} stands on layer ${at}, and there is none`);
    chain.push(layer);
    if (chain.length > maxDepth) throw invalid(`layer ${index} stands on itself, or on more than ${maxDepth} others`);
    at = layer.parent;
  }
  return chain.toReversed();
}

function parseRecords(value: unknown, tops: readonly string[]): CacheContents["records"] {
  const records = new Map<string, { top: string; createdMs: number }>();
  for (const [index, one] of listOf(value ?? [], { name: "records", most: maxRecords }).entries()) {
    const { digest, layers } = objectOf(one, `record ${index}`);
    const key = typeof digest === "string" ? /^sha256:([0-9a-f]{64})$/.exec(digest)?.[1] : undefined;
    if (key === undefined) throw invalid(`record ${index} has no digest`);
    for (const result of listOf(layers ?? [], { name: `record ${index}'s layers`, most: maxLayers })) {
      const { layer, createdAt } = objectOf(result, `record ${index}'s result`);
      const top = typeof layer === "number" ? tops[layer] : undefined;
      if (top === undefined)
        throw invalid(`record ${index} names the layer ${JSON.stringify(layer)}, and there is none`);
      const createdMs = typeof createdAt === "string" ? Date.parse(createdAt) : Number.NaN;
      records.set(key, { top, createdMs: Number.isNaN(createdMs) ? 0 : createdMs });
    }
  }
  return records;
}

function parsePaths(value: unknown, tops: readonly string[]): ReadonlyMap<string, string> {
  const paths = new Map<string, string>();
  for (const [index, one] of listOf(value ?? [], { name: "paths", most: maxRecords }).entries()) {
    const { layer, path, digest } = objectOf(one, `path ${index}`);
    const top = typeof layer === "number" ? tops[layer] : undefined;
    if (top === undefined || typeof path !== "string" || typeof digest !== "string")
      throw invalid(`path ${index} is none`);
    paths.set(`${top} ${path}`, digest);
  }
  return paths;
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)) as unknown;
  } catch (cause) {
    throw invalid(`it is no JSON: ${(cause as Error).message}`);
  }
}

function objectOf(value: unknown, what: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw invalid(`${what} is no object`);
  return value as Record<string, unknown>;
}

function listOf(value: unknown, { name, most }: { name: string; most: number }): readonly unknown[] {
  if (!Array.isArray(value)) throw invalid(`"${name}" is no list`);
  if (value.length > most) throw invalid(`"${name}" has ${value.length} entries, and ${most} is the limit`);
  return value;
}

function invalid(why: string): EngineError {
  return new EngineError("invalidArgument", `The build cache cannot be used: ${why}`);
}
