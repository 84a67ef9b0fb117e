import { EngineError, toEngineError } from "../common/index.ts";
import type { ImageStore, LayerHold } from "../image/index.ts";
import type { Snapshotter } from "../snapshot/index.ts";
import type { CacheRecord } from "./build-cache.ts";
import type { CacheContents, CachedLayer } from "./cache-config.ts";
import type { CachePlace } from "./cache-place.ts";

/** A cache from elsewhere that was read. */
export interface ImportedCache {
  /** For people. */
  readonly name: string;
  readonly place: CachePlace;
  readonly contents: CacheContents;
}

/** The first cache that did not hold what it said, once there is one. */
export interface FailedImport {
  cache?: ImportedCache;
  error?: EngineError;
}

/** What a layer is called before it is here. */
export interface KnownLayer {
  readonly chainId: string;
  readonly diffId: string;
}

/**
 * The layers of one build: those that are here, and those that caches elsewhere have, which come when something is made of them.
 * A cache that does not hold what it says is put into `failed` once that shows.
 */
export class LazyLayers {
  readonly #layers = new Map<string, { layer: CachedLayer; from: ImportedCache }>();
  readonly #coming = new Map<string, Promise<void>>();
  readonly #records = new Map<string, CacheRecord>();

  constructor(
    readonly parts: {
      readonly images: ImageStore;
      readonly snapshots: Snapshotter;
      readonly hold: LayerHold;
      readonly signal: AbortSignal;
    },
    readonly from: { readonly imports: readonly ImportedCache[]; readonly failed: FailedImport },
  ) {
    for (const from of this.from.imports) {
      for (const layer of from.contents.layers.values()) {
        if (!this.#layers.has(layer.chainId)) this.#layers.set(layer.chainId, { layer, from });
      }
    }
  }

  /** A record that a cache elsewhere has, with layers that can be had. */
  find(key: string, about: { kind: string; description: string }): CacheRecord | undefined {
    const known = this.#records.get(key);
    if (known) return known;
    for (const { contents } of this.from.imports) {
      const found = contents.records.get(key);
      if (!found || !this.#isKnown(found.top)) continue;
      const { createdMs, top } = found;
      const record = { key, ...about, top, sizeBytes: 0, createdMs, usedMs: Date.now(), uses: 1, containerId: "" };
      this.#records.set(key, record);
      return record;
    }
    return undefined;
  }

  #isKnown(chainId: string): boolean {
    return this.#layers.has(chainId) || this.parts.snapshots.layer(chainId) !== undefined;
  }

  pathDigest(top: string, path: string): string | undefined {
    for (const { contents } of this.from.imports) {
      const digest = contents.paths.get(`${top} ${path}`);
      if (digest !== undefined) return digest;
    }
    return undefined;
  }

  /** The layers of a chain, lowest first, here or not. */
  chain(top: string | undefined): KnownLayer[] {
    const { snapshots } = this.parts;
    const upper: KnownLayer[] = [];
    let at = top;
    while (at !== undefined && !snapshots.layer(at)) {
      const { layer } = this.#known(at);
      upper.push(layer);
      at = layer.below;
    }
    const lower: readonly KnownLayer[] = at === undefined ? [] : snapshots.chain(at);
    return [...lower.toReversed(), ...upper.toReversed()];
  }

  /** Brings the layers of a chain that are not here. */
  async need(top: string | undefined): Promise<void> {
    if (top === undefined || this.parts.snapshots.layer(top)) return;
    const known = this.#coming.get(top);
    if (known) return known;
    const coming = this.#bring(top);
    this.#coming.set(top, coming);
    return coming;
  }

  /** What was used of caches elsewhere and has come whole: worth being remembered here. */
  arrived(): CacheRecord[] {
    const { snapshots } = this.parts;
    return [...this.#records.values()].flatMap((record) => {
      const layer = snapshots.layer(record.top);
      return layer ? [{ ...record, sizeBytes: layer.sizeBytes }] : [];
    });
  }

  async #bring(top: string): Promise<void> {
    const { layer, from } = this.#known(top);
    await this.need(layer.below);
    const { images, hold, signal } = this.parts;
    hold.add(top);
    await using carried = images.carry(`build cache ${from.name}`);
    try {
      const { blob, diffId, below } = layer;
      await carried.receive(below, { blob, diffId, source: from.place.blob(blob, signal), signal });
    } catch (error) {
      if (!signal.aborted && !this.from.failed.cache) {
        Object.assign(this.from.failed, { cache: from, error: toEngineError(error) });
      }
      throw error;
    }
  }

  #known(chainId: string): { layer: CachedLayer; from: ImportedCache } {
    const known = this.#layers.get(chainId);
    if (!known) throw new EngineError("internal", `The layer "${chainId}" is neither here nor in a cache`);
    return known;
  }
}
