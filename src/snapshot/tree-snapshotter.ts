import type { Database } from "bun:sqlite";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { applyLayer, hashingStream, isWhiteout, packLayerNodes } from "../archive/index.ts";
import { EngineError, newId, type Paths } from "../common/index.ts";
import { closeFd, compareNames, lstat, openDirectory, setTimesAt, syncfs } from "../kernel/index.ts";
import type { GraphDriver, Mount } from "../spec/index.ts";
import { Arrivals, requireChainId, requireDiffId } from "./arrivals.ts";
import { chainIdOf } from "./chain-id.ts";
import { compareTrees, withParents, type Comparison, type Difference } from "./compare-trees.ts";
import { fillInitLayer } from "./init-layer.ts";
import { LowerView } from "./lower-view.ts";
import { mergeLayer } from "./merge-layer.ts";
import { isKey } from "./overlay2-layout.ts";
import { SnapshotRecords, type SnapshotRecord } from "./records.ts";
import { settleLayer } from "./settle-layer.ts";
import type { Change, ExpectedLayer, Layer, ParentLayer, Snapshotter } from "./snapshotter.ts";
import { Trash } from "./trash.ts";
import { TreeLayout } from "./tree-layout.ts";
import type { TreeStore } from "./tree-store.ts";

export interface TreeSnapshotterOptions {
  readonly paths: Paths;
  readonly db: Database;
  /** As for overlay2. */
  readonly runState?: Database;
}

/**
 * Snapshots without the kernel's overlay: every layer and every snapshot is a whole tree, copied from the one below. What one
 * changes is found by comparing the two. A start mounts nothing but a bind of the tree. One a root at a time.
 */
export class TreeSnapshotter implements Snapshotter {
  readonly name: string;
  readonly #store: TreeStore;
  readonly #records: SnapshotRecords;
  readonly #layout: TreeLayout;
  readonly #trash: Trash;
  readonly #arrivals = new Arrivals((chainId) => this.layer(chainId));
  /** Snapshots on their way, by key, with the layer that they are copied from: it must stay until the record says so too. */
  readonly #preparing = new Map<string, string | undefined>();

  constructor(store: TreeStore, options: TreeSnapshotterOptions) {
    this.name = store.name;
    this.#store = store;
    this.#records = new SnapshotRecords(options.db, options.runState ?? options.db);
    this.#layout = new TreeLayout(join(options.paths.root, store.name), store);
    this.#trash = new Trash(options.paths.trash);
    this.#sweep();
  }

  /** Resolves once everything removed so far is deleted. */
  settled(): Promise<void> {
    return this.#trash.settled();
  }

  async apply(parent: ParentLayer, tar: AsyncIterable<Uint8Array>, expected: ExpectedLayer = {}): Promise<Layer> {
    if (!(parent instanceof Promise)) this.#directoryOf(parent);
    return this.#arrivals.once({ parent, tar, expected }, async () => this.#unpack(await parent, tar, expected));
  }

  layer(chainId: string): Layer | undefined {
    return this.#records.layer(chainId);
  }

  layers(): Layer[] {
    return this.#records.layers();
  }

  chain(chainId: string): Layer[] {
    const chain = this.#records.chain(chainId);
    if (chain.length === 0) throw new EngineError("notFound", `No layer "${chainId}" is in ${this.name}`);
    return chain;
  }

  async prepare(key: string, parent: string | undefined, options: { hostFiles?: boolean } = {}): Promise<void> {
    if (!isKey(key)) throw new EngineError("invalidArgument", `"${key}" cannot name a snapshot`);
    if (this.#records.snapshot(key) || this.#preparing.has(key))
      throw new EngineError("alreadyExists", `A snapshot "${key}" is there already`);
    const image = this.#directoryOf(parent);
    const init = options.hostFiles !== false;
    // A crash, or a failure below, can have left directories of that name.
    this.#discardSnapshot(key);
    this.#preparing.set(key, parent);
    try {
      if (init) await this.#makeInit(key, image);
      await this.#layout.create(key, { from: init ? `${key}-init` : image, merged: true });
      this.#records.addSnapshot({ key, parent, init });
    } catch (error) {
      this.#discardSnapshot(key);
      throw error;
    } finally {
      this.#preparing.delete(key);
    }
  }

  mounts(key: string): Mount[] {
    return [{ type: "bind", source: this.diffDirectory(key), target: this.mergedDirectory(key), options: ["bind"] }];
  }

  mergedDirectory(key: string): string {
    this.#require(key);
    return this.#layout.merged(key);
  }

  diffDirectory(key: string): string {
    this.#require(key);
    return this.#layout.tree(key);
  }

  readDirectories(key: string): string[] {
    return [this.diffDirectory(key)];
  }

  layerDirectory(chainId: string): string {
    return this.#layout.tree(this.#requireLayer(chainId).directoryId);
  }

  async commit(key: string): Promise<Layer | undefined> {
    this.#require(key);
    if (this.#layout.isMounted(key)) throw new EngineError("conflict", `The snapshot "${key}" is mounted`);
    const layer = await this.commitCopy(key);
    await this.remove(key);
    return layer;
  }

  async commitCopy(key: string): Promise<Layer | undefined> {
    const snapshot = this.#require(key);
    const comparison = await this.#comparisonForCommit(snapshot);
    if (comparison.differences.length === 0) return undefined;
    return this.#unpack(snapshot.parent, pack(this.#layout.tree(key), comparison), {});
  }

  async changes(key: string): Promise<Change[]> {
    const comparison = await this.#compare(this.#require(key));
    const kinds = new Map(comparison.differences.map(({ kind, node }) => [node.path, kind]));
    return withParents(comparison)
      .filter(({ path }) => path !== "")
      .map(({ path }) => ({ Path: `/${path}`, Kind: kinds.get(path) ?? 0 }))
      .sort((a, b) => compareNames(sortable(a.Path), sortable(b.Path)));
  }

  async usage(key: string): Promise<number> {
    const { differences } = await this.#compare(this.#require(key));
    const files = differences.filter(({ node }) => node.stat.type !== "directory" && !isWhiteout(node.stat));
    const sizes = new Map(files.map(({ node }) => [node.stat.identity, node.stat.size]));
    return [...sizes.values()].reduce((total, size) => total + size, 0);
  }

  packLayer(chainId: string): AsyncIterable<Uint8Array> {
    return this.#packLayer(this.#requireLayer(chainId));
  }

  /** Docker's vfs and btrfs tell no directories; ours are no overlay's, so that they have names of their own. */
  graphDriver(keyOrChainId: string): GraphDriver {
    const snapshot = this.#records.snapshot(keyOrChainId);
    if (!snapshot) return { Name: this.name, Data: { RootDir: this.layerDirectory(keyOrChainId) } };
    const Data: Record<string, string> = {
      MergedDir: this.#layout.merged(keyOrChainId),
      RootDir: this.#layout.tree(keyOrChainId),
    };
    if (snapshot.init) Data["InitDir"] = this.#layout.tree(`${keyOrChainId}-init`);
    return { Name: this.name, Data };
  }

  async remove(key: string): Promise<void> {
    this.#records.removeSnapshot(key);
    if (isKey(key)) this.#discardSnapshot(key);
  }

  async removeLayer(chainId: string): Promise<void> {
    const layer = this.layer(chainId);
    if (!layer) return;
    const copied = [...this.#preparing].find(([, parent]) => parent === chainId)?.[0];
    const dependant = copied === undefined ? this.#records.dependant(chainId) : `snapshot ${copied}`;
    if (dependant !== undefined) {
      throw new EngineError("conflict", `Cannot remove layer "${chainId}": ${dependant} stands on it`);
    }
    this.#records.removeLayer(chainId);
    this.#layout.discard(layer.directoryId, this.#trash);
  }

  keys(): string[] {
    return this.#records.snapshots().map((snapshot) => snapshot.key);
  }

  status(): [string, string][] {
    return this.#store.status(this.#layout.root);
  }

  async *#packLayer(layer: Layer): AsyncGenerator<Uint8Array> {
    const base = this.#directoryOf(layer.parent);
    yield* pack(this.#layout.tree(layer.directoryId), await this.#difference(layer.directoryId, base));
  }

  #difference(id: string, base: string | undefined): Promise<Comparison> {
    const tree = base === undefined ? undefined : this.#layout.tree(base);
    return compareTrees(this.#layout.tree(id), tree, this.#layout.stampNs(id));
  }

  /** Against the init layer where there is one: what it brought is no change. */
  async #compare({ key, parent, init }: SnapshotRecord): Promise<Comparison> {
    const comparison = await this.#difference(key, init ? `${key}-init` : this.#directoryOf(parent));
    return { ...comparison, differences: comparison.differences.filter((one) => !isPlainNewRoot(one)) };
  }

  /**
   * As `#compare`, less what is no change of the image: an entry of the init layer that was deleted, or made what the image has. So the
   * layer compares with its parent as the snapshot did, and packs to the same bytes.
   */
  async #comparisonForCommit(snapshot: SnapshotRecord): Promise<Comparison> {
    const comparison = await this.#compare(snapshot);
    if (!snapshot.init) return comparison;
    const image = await this.#difference(snapshot.key, this.#directoryOf(snapshot.parent));
    const differs = new Set(image.differences.map(({ node }) => node.path));
    return { ...comparison, differences: comparison.differences.filter(({ node }) => differs.has(node.path)) };
  }

  async #unpack(parent: string | undefined, tar: AsyncIterable<Uint8Array>, expected: ExpectedLayer): Promise<Layer> {
    const below = this.#directoryOf(parent);
    const id = newId();
    try {
      await this.#layout.create(id, { from: below });
      const tree = this.#layout.tree(id);
      const diff = this.#newDiff(id);
      const hashed = hashingStream(tar);
      const applied = await applyLayer(hashed.stream, diff, { stacked: true });
      requireDiffId(hashed.digest(), expected);
      requireChainId(chainIdOf(parent, hashed.digest()), expected);
      const settled = await settleLayer(diff, applied, below === undefined ? [] : [this.#layout.tree(below)]);
      mergeLayer(diff, tree, new Set(settled.impliedDirectories));
      await syncfs(this.#layout.root);
      return this.#record({ parent, diffId: hashed.digest(), id, sizeBytes: applied.sizeBytes + settled.copiedBytes });
    } catch (error) {
      this.#layout.discard(id, this.#trash);
      throw error;
    }
  }

  /** Everything is on disk before the record says so. */
  #record(made: { parent: string | undefined; diffId: string; id: string; sizeBytes: number }): Layer {
    const chainId = chainIdOf(made.parent, made.diffId);
    const present = this.layer(chainId);
    if (present) {
      this.#layout.discard(made.id, this.#trash);
      return present;
    }
    const { parent, diffId, id: directoryId, sizeBytes } = made;
    const layer = { chainId, diffId, parent, directoryId, sizeBytes, createdAt: new Date().toISOString() };
    this.#records.addLayer(layer);
    return layer;
  }

  /** In the tree itself, since a subvolume takes renames only from within; no archive can guess the name. */
  #newDiff(id: string): string {
    const tree = this.#layout.tree(id);
    const diff = join(tree, `.layer-${crypto.randomUUID()}`);
    const mtimeNs = lstat(tree)?.mtimeNs ?? 0n;
    mkdirSync(diff, { mode: 0o755 });
    setTimesAt(-100, tree, mtimeNs);
    return diff;
  }

  async #makeInit(key: string, image: string | undefined): Promise<void> {
    const id = `${key}-init`;
    await this.#layout.create(id, { from: image });
    const diff = this.#newDiff(id);
    fillInitLayer(diff, new LowerView(image === undefined ? [] : [this.#layout.tree(image)]));
    mergeLayer(diff, this.#layout.tree(id), new Set([""]));
  }

  #require(key: string): SnapshotRecord {
    const snapshot = this.#records.snapshot(key);
    if (!snapshot) throw new EngineError("notFound", `No snapshot "${key}" is in ${this.name}`);
    return snapshot;
  }

  #requireLayer(chainId: string): Layer {
    const layer = this.layer(chainId);
    if (!layer) throw new EngineError("notFound", `No layer "${chainId}" is in ${this.name}`);
    return layer;
  }

  #directoryOf(chainId: string | undefined): string | undefined {
    return chainId === undefined ? undefined : this.#requireLayer(chainId).directoryId;
  }

  #discardSnapshot(key: string): void {
    for (const id of [key, `${key}-init`]) this.#layout.discard(id, this.#trash);
  }

  #sweep(): void {
    const known = new Set(this.#records.layers().map((layer) => layer.directoryId));
    for (const { key, init } of this.#records.snapshots()) {
      known.add(key);
      if (init) known.add(`${key}-init`);
    }
    this.#layout.sweep(known, this.#trash);
  }
}

function sortable(path: string): string {
  return path.replaceAll("/", "\u0001");
}

/** On nothing, a root as every archive implies it is no change. */
function isPlainNewRoot({ kind, node: { path, stat } }: Difference): boolean {
  return path === "" && kind === 1 && (stat.mode & 0o7777) === 0o755 && stat.uid === 0 && stat.gid === 0;
}

async function* pack(tree: string, comparison: Comparison): AsyncGenerator<Uint8Array> {
  const rootFd = openDirectory(tree);
  try {
    yield* packLayerNodes(rootFd, withParents(comparison));
  } finally {
    closeFd(rootFd);
  }
}
