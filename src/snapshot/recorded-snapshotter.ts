// What every storage driver keeps alike, whatever its directories look like.
import type { Database } from "bun:sqlite";
import { EngineError, type Paths } from "../common/index.ts";
import { syncfs } from "../kernel/index.ts";
import { Arrivals } from "./arrivals.ts";
import { chainIdOf } from "./chain-id.ts";
import { SnapshotRecords, type SnapshotRecord } from "./records.ts";
import { isKey } from "./snapshot-key.ts";
import type { ExpectedLayer, Layer, ParentLayer } from "./snapshotter.ts";
import { Trash } from "./trash.ts";

export interface SnapshotterOptions {
  readonly paths: Paths;
  readonly db: Database;
  /** For records of active snapshots: a connection to the same file that may lose its last words in a power cut. Absent: `db`. */
  readonly runState?: Database;
}

/** A driver's directories: one for every layer, named at random, and `<key>`, perhaps `<key>-init` for every snapshot. */
interface Layout {
  readonly root: string;
  /** Moves `<id>/` to the trash. Idempotent. */
  discard(id: string, trash: Trash): void;
  /** Discards every directory that is not among the known ids. */
  sweep(known: ReadonlySet<string>, trash: Trash): void;
}

export interface MadeLayer {
  readonly parent: string | undefined;
  readonly diffId: string;
  /** The directory's name. */
  readonly id: string;
  readonly sizeBytes: number;
  /** The snapshot that it was made of, and that ends with its record. */
  readonly instead?: string;
}

/** Records, layers on their way, and the end of directories. A subclass calls `sweep` once its layout is there. */
export abstract class RecordedSnapshotter {
  readonly name: string;
  protected readonly records: SnapshotRecords;
  protected readonly trash: Trash;
  protected abstract readonly layout: Layout;
  readonly #arrivals = new Arrivals((chainId) => this.layer(chainId));
  readonly #placed = new Map<string, MadeLayer>();
  #unsynced: { made: MadeLayer; resolve: (layer: Layer) => void; reject: (error: unknown) => void }[] = [];
  #isSyncing = false;

  constructor(name: string, options: SnapshotterOptions) {
    this.name = name;
    this.records = new SnapshotRecords(options.db, options.runState ?? options.db);
    this.trash = new Trash(options.paths.trash);
  }

  /** Resolves once everything removed so far is deleted. */
  settled(): Promise<void> {
    return this.trash.settled();
  }

  async apply(parent: ParentLayer, tar: AsyncIterable<Uint8Array>, expected: ExpectedLayer = {}): Promise<Layer> {
    if (!(parent instanceof Promise)) this.requireParent(parent);
    const layer = await this.#arrivals.once({ parent, tar, expected }, () => this.unpack(parent, tar, expected));
    expected.onPlaced?.();
    return layer;
  }

  /** Refuses what no layer can be made upon. */
  protected abstract requireParent(parent: string | undefined): void;

  /** Makes a layer of an archive and records it; its directory is discarded when that fails. */
  protected abstract unpack(
    parent: ParentLayer,
    tar: AsyncIterable<Uint8Array>,
    expected: ExpectedLayer,
  ): Promise<Layer>;

  layer(chainId: string): Layer | undefined {
    return this.records.layer(chainId);
  }

  layers(): Layer[] {
    return this.records.layers();
  }

  chain(chainId: string): Layer[] {
    const chain = this.records.chain(chainId);
    if (chain.length === 0) throw new EngineError("notFound", `No layer "${chainId}" is in ${this.name}`);
    return chain;
  }

  keys(): string[] {
    return this.records.snapshots().map((snapshot) => snapshot.key);
  }

  async remove(key: string): Promise<void> {
    try {
      this.records.removeSnapshot(key);
    } catch (error) {
      if (!isKey(key)) throw error;
      // A full disk takes no record before the files have given their room back.
      this.discardSnapshot(key);
      await this.trash.settled();
      this.records.removeSnapshot(key);
      return;
    }
    if (isKey(key)) this.discardSnapshot(key);
  }

  async removeLayer(chainId: string): Promise<void> {
    const layer = this.layer(chainId);
    if (!layer) return;
    const dependant = this.dependant(chainId);
    if (dependant !== undefined) {
      throw new EngineError("conflict", `Cannot remove layer "${chainId}": ${dependant} stands on it`);
    }
    this.records.removeLayer(chainId);
    this.layout.discard(layer.directoryId, this.trash);
  }

  /** A layer or snapshot that stands on this layer. */
  protected dependant(chainId: string): string | undefined {
    return this.records.dependant(chainId);
  }

  /** A layer whose directory is as it will stay, though no record says so yet. */
  protected placed(chainId: string): MadeLayer | undefined {
    return this.#placed.get(chainId);
  }

  /**
   * Everything is on disk before the record says so. One that is there already wins, and the new directory goes. Layers that are made
   * meanwhile share the next sync; one whose parent could not be recorded is not, either. Where it need not be lasting, the record says
   * that the files may not be on disk.
   */
  protected async record(made: MadeLayer, { lasting = true }: { lasting?: boolean } = {}): Promise<Layer> {
    if (!lasting) return this.#addRecord(made, { unsynced: true });
    const chainId = chainIdOf(made.parent, made.diffId);
    if (!this.#placed.has(chainId)) this.#placed.set(chainId, made);
    const { promise, resolve, reject } = Promise.withResolvers<Layer>();
    this.#unsynced.push({ made, resolve, reject });
    if (!this.#isSyncing) void this.#syncAll();
    try {
      return await promise;
    } finally {
      if (this.#placed.get(chainId) === made) this.#placed.delete(chainId);
    }
  }

  async sync(): Promise<void> {
    const chainIds = this.records.unsynced();
    if (chainIds.length === 0) return;
    await syncfs(this.layout.root);
    this.records.synced(chainIds);
  }

  async #syncAll(): Promise<void> {
    this.#isSyncing = true;
    // Whatever is placed by then is synced with it.
    while (this.#unsynced.length > 0) {
      const batch = this.#unsynced.splice(0);
      const failure = await syncfs(this.layout.root).then(
        () => undefined,
        (error: unknown) => ({ error }),
      );
      for (const { made, resolve, reject } of batch) {
        try {
          if (failure) throw failure.error;
          resolve(this.#addRecord(made));
        } catch (error) {
          reject(error);
        }
      }
    }
    this.#isSyncing = false;
  }

  #addRecord({ parent, diffId, id, sizeBytes, instead }: MadeLayer, options: { unsynced?: boolean } = {}): Layer {
    const chainId = chainIdOf(parent, diffId);
    const raced = this.layer(chainId);
    if (raced) {
      this.layout.discard(id, this.trash);
      if (instead !== undefined) this.records.removeSnapshot(instead);
      return raced;
    }
    if (parent !== undefined) this.requireLayer(parent);
    const layer = { chainId, diffId, parent, directoryId: id, sizeBytes, createdAt: new Date().toISOString() };
    this.records.addLayer(layer, { instead, ...options });
    return layer;
  }

  protected require(key: string): SnapshotRecord {
    const snapshot = this.records.snapshot(key);
    if (!snapshot) throw new EngineError("notFound", `No snapshot "${key}" is in ${this.name}`);
    return snapshot;
  }

  protected requireLayer(chainId: string): Layer {
    const layer = this.layer(chainId);
    if (!layer) throw new EngineError("notFound", `No layer "${chainId}" is in ${this.name}`);
    return layer;
  }

  protected requireNewKey(key: string): void {
    if (!isKey(key)) throw new EngineError("invalidArgument", `"${key}" cannot name a snapshot`);
    if (this.records.snapshot(key)) throw new EngineError("alreadyExists", `A snapshot "${key}" is there already`);
  }

  protected discardSnapshot(key: string): void {
    for (const id of [key, `${key}-init`]) this.layout.discard(id, this.trash);
  }

  /** Ends every directory that no record names: a crash left it. */
  protected sweep(): void {
    const known = new Set(this.layers().map((layer) => layer.directoryId));
    for (const { key, init } of this.records.snapshots()) {
      known.add(key);
      if (init) known.add(`${key}-init`);
    }
    this.layout.sweep(known, this.trash);
  }
}
