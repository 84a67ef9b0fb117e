import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { isWhiteout, packLayerNodes, unpackLayer } from "../archive/index.ts";
import { EngineError, newId, toEngineError } from "../common/index.ts";
import { closeFd, compareNames, lstat, openDirectory, setTimesAt } from "../kernel/index.ts";
import type { GraphDriver, Mount } from "../spec/index.ts";
import { requireChainId, requireDiffId } from "./arrivals.ts";
import { chainIdOf } from "./chain-id.ts";
import { compareTrees, withParents, type Comparison, type Difference } from "./compare-trees.ts";
import { fillInitLayer } from "./init-layer.ts";
import { LowerView } from "./lower-view.ts";
import { mergeLayer } from "./merge-layer.ts";
import { RecordedSnapshotter, type SnapshotterOptions } from "./recorded-snapshotter.ts";
import type { SnapshotRecord } from "./records.ts";
import { settleLayer } from "./settle-layer.ts";
import type { Change, ExpectedLayer, Layer, ParentLayer, Snapshotter } from "./snapshotter.ts";
import { TreeLayout } from "./tree-layout.ts";
import type { TreeStore } from "./tree-store.ts";

/**
 * Snapshots without the kernel's overlay: every layer and every snapshot is a whole tree, copied from the one below. What one
 * changes is found by comparing the two. A start mounts nothing but a bind of the tree. One a root at a time.
 */
export class TreeSnapshotter extends RecordedSnapshotter implements Snapshotter {
  protected readonly layout: TreeLayout;
  readonly #store: TreeStore;
  /** Snapshots on their way, by key, with the layer that they are copied from: it must stay until the record says so too. */
  readonly #preparing = new Map<string, string | undefined>();

  constructor(store: TreeStore, options: SnapshotterOptions) {
    super(store.name, options);
    this.#store = store;
    this.layout = new TreeLayout(join(options.paths.root, store.name), store);
    this.sweep();
  }

  protected requireParent(parent: string | undefined): void {
    if (parent !== undefined) this.requireLayer(parent);
  }

  async prepare(key: string, parent: string | undefined, options: { hostFiles?: boolean } = {}): Promise<void> {
    this.requireNewKey(key);
    const image = this.#directoryOf(parent);
    const init = options.hostFiles !== false;
    // A crash, or a failure below, can have left directories of that name.
    this.discardSnapshot(key);
    this.#preparing.set(key, parent);
    try {
      if (init) await this.#makeInit(key, image);
      await this.layout.create(key, { from: init ? `${key}-init` : image, merged: true });
      this.records.addSnapshot({ key, parent, init });
    } catch (error) {
      this.discardSnapshot(key);
      throw error;
    } finally {
      this.#preparing.delete(key);
    }
  }

  mounts(key: string): Mount[] {
    return [{ type: "bind", source: this.diffDirectory(key), target: this.mergedDirectory(key), options: ["bind"] }];
  }

  mergedDirectory(key: string): string {
    this.require(key);
    return this.layout.merged(key);
  }

  diffDirectory(key: string): string {
    this.require(key);
    return this.layout.tree(key);
  }

  readDirectories(key: string): string[] {
    return [this.diffDirectory(key)];
  }

  layerDirectory(chainId: string): string {
    return this.layout.tree(this.requireLayer(chainId).directoryId);
  }

  async commit(key: string): Promise<Layer | undefined> {
    this.require(key);
    if (this.layout.isMounted(key)) throw new EngineError("conflict", `The snapshot "${key}" is mounted`);
    const layer = await this.commitCopy(key);
    await this.remove(key);
    return layer;
  }

  async commitCopy(key: string): Promise<Layer | undefined> {
    const snapshot = this.require(key);
    const comparison = await this.#comparisonForCommit(snapshot);
    if (comparison.differences.length === 0) return undefined;
    return this.unpack(snapshot.parent, pack(this.layout.tree(key), comparison), {});
  }

  async changes(key: string): Promise<Change[]> {
    const comparison = await this.#compare(this.require(key));
    const kinds = new Map(comparison.differences.map(({ kind, node }) => [node.path, kind]));
    return withParents(comparison)
      .filter(({ path }) => path !== "")
      .map(({ path }) => ({ Path: `/${path}`, Kind: kinds.get(path) ?? 0 }))
      .sort((a, b) => compareNames(sortable(a.Path), sortable(b.Path)));
  }

  async usage(key: string): Promise<number> {
    const { differences } = await this.#compare(this.require(key));
    const files = differences.filter(({ node }) => node.stat.type !== "directory" && !isWhiteout(node.stat));
    const sizes = new Map(files.map(({ node }) => [node.stat.identity, node.stat.size]));
    return [...sizes.values()].reduce((total, size) => total + size, 0);
  }

  packLayer(chainId: string): AsyncIterable<Uint8Array> {
    return this.#packLayer(this.requireLayer(chainId));
  }

  /** Docker's vfs and btrfs tell no directories; ours are no overlay's, so that they have names of their own. */
  graphDriver(keyOrChainId: string): GraphDriver {
    const snapshot = this.records.snapshot(keyOrChainId);
    if (!snapshot) return { Name: this.name, Data: { RootDir: this.layerDirectory(keyOrChainId) } };
    const Data: Record<string, string> = {
      MergedDir: this.layout.merged(keyOrChainId),
      RootDir: this.layout.tree(keyOrChainId),
    };
    if (snapshot.init) Data["InitDir"] = this.layout.tree(`${keyOrChainId}-init`);
    return { Name: this.name, Data };
  }

  protected override requireNewKey(key: string): void {
    super.requireNewKey(key);
    if (this.#preparing.has(key)) throw new EngineError("alreadyExists", `A snapshot "${key}" is there already`);
  }

  protected override dependant(chainId: string): string | undefined {
    const copied = [...this.#preparing].find(([, parent]) => parent === chainId)?.[0];
    return copied === undefined ? super.dependant(chainId) : `snapshot ${copied}`;
  }

  status(): [string, string][] {
    return this.#store.status(this.layout.root);
  }

  async *#packLayer(layer: Layer): AsyncGenerator<Uint8Array> {
    const base = this.#directoryOf(layer.parent);
    yield* pack(this.layout.tree(layer.directoryId), await this.#difference(layer.directoryId, base));
  }

  #difference(id: string, base: string | undefined): Promise<Comparison> {
    const tree = base === undefined ? undefined : this.layout.tree(base);
    return compareTrees(this.layout.tree(id), tree, this.layout.stampNs(id));
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

  protected async unpack(
    parentLayer: ParentLayer,
    tar: AsyncIterable<Uint8Array>,
    expected: ExpectedLayer,
  ): Promise<Layer> {
    const parent = await parentLayer;
    const below = this.#directoryOf(parent);
    const id = newId();
    try {
      await this.layout.create(id, { from: below });
      const tree = this.layout.tree(id);
      const diff = this.#newDiff(id);
      const applied = await unpackLayer(tar, diff, { stacked: true });
      requireDiffId(applied.diffId, expected);
      requireChainId(chainIdOf(parent, applied.diffId), expected);
      const settled = await settleLayer(diff, applied, below === undefined ? [] : [this.layout.tree(below)]);
      mergeLayer(diff, tree, new Set(settled.impliedDirectories));
      return await this.record({
        parent,
        diffId: applied.diffId,
        id,
        sizeBytes: applied.sizeBytes + settled.copiedBytes,
      });
    } catch (error) {
      this.layout.discard(id, this.trash);
      // Whoever cleans up after it needs some of the space.
      if (toEngineError(error).code === "resourceExhausted") await this.trash.settled();
      throw error;
    }
  }

  /** In the tree itself, since a subvolume takes renames only from within; no archive can guess the name. */
  #newDiff(id: string): string {
    const tree = this.layout.tree(id);
    const diff = join(tree, `.layer-${crypto.randomUUID()}`);
    const mtimeNs = lstat(tree)?.mtimeNs ?? 0n;
    mkdirSync(diff, { mode: 0o755 });
    setTimesAt(-100, tree, mtimeNs);
    return diff;
  }

  async #makeInit(key: string, image: string | undefined): Promise<void> {
    const id = `${key}-init`;
    await this.layout.create(id, { from: image });
    const diff = this.#newDiff(id);
    fillInitLayer(diff, new LowerView(image === undefined ? [] : [this.layout.tree(image)]));
    mergeLayer(diff, this.layout.tree(id), new Set([""]));
  }

  #directoryOf(chainId: string | undefined): string | undefined {
    return chainId === undefined ? undefined : this.requireLayer(chainId).directoryId;
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
