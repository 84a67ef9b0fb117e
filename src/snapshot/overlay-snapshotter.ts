import { existsSync, renameSync } from "node:fs";
import { join } from "node:path";
import { hashingStream, packLayer, packLayerNodes, treeSize, unpackLayer } from "../archive/index.ts";
import { EngineError, newId, toEngineError } from "../common/index.ts";
import { closeFd, openDirectory } from "../kernel/index.ts";
import type { GraphDriver, Mount } from "../spec/index.ts";
import { requireChainId, requireDiffId } from "./arrivals.ts";
import { chainIdOf } from "./chain-id.ts";
import { listChanges } from "./changes.ts";
import { copyAttributes } from "./copy-attributes.ts";
import { dropInitWhiteouts, fillInitLayer, initWhiteouts } from "./init-layer.ts";
import { isEmptyTree } from "./is-empty-tree.ts";
import { LowerView } from "./lower-view.ts";
import { kernelOverlay, type OverlayFlavour, type UpperWalk } from "./overlay-flavour.ts";
import { Overlay2Layout, maxLayers } from "./overlay2-layout.ts";
import { RecordedSnapshotter, type MadeLayer, type SnapshotterOptions } from "./recorded-snapshotter.ts";
import type { SnapshotRecord } from "./records.ts";
import { settleLayer } from "./settle-layer.ts";
import type { Change, ExpectedLayer, Layer, ParentLayer, Snapshotter } from "./snapshotter.ts";

/** Layers with Docker's names on disk, by the kernel's overlay file system. Sweeps what an earlier run left unrecorded. One a root at a time. */
export function createOverlay2(options: SnapshotterOptions): OverlaySnapshotter {
  return new OverlaySnapshotter(kernelOverlay, options);
}

/**
 * Snapshots whose every directory holds what it changes, and an overlay shows them as one: `<root>/<driver>/<id>/{diff,link,lower,work,merged}`.
 * Sweeps what an earlier run left unrecorded. One a root at a time.
 */
export class OverlaySnapshotter extends RecordedSnapshotter implements Snapshotter {
  protected readonly layout: Overlay2Layout;
  readonly #flavour: OverlayFlavour;

  constructor(flavour: OverlayFlavour, options: SnapshotterOptions) {
    super(flavour.name, options);
    this.#flavour = flavour;
    this.layout = new Overlay2Layout(join(options.paths.root, flavour.name));
    for (const { key } of this.records.snapshots()) {
      // A commit was cut off between its rename and its record.
      if (!existsSync(this.layout.diff(key))) this.records.removeSnapshot(key);
    }
    this.sweep();
  }

  protected requireParent(parent: string | undefined): void {
    this.#requireRoom(this.#lowersOf(parent).length);
  }

  async prepare(key: string, parent: string | undefined, options: { hostFiles?: boolean } = {}): Promise<void> {
    this.requireNewKey(key);
    const image = this.#lowersOf(parent);
    if (image.length > maxLayers) this.#requireRoom(image.length - 1);
    const init = options.hostFiles !== false;
    // A crash, or a failure below, can have left directories of that name.
    this.discardSnapshot(key);
    try {
      if (init) this.#makeInit(key, image);
      const lowers = init ? [`${key}-init`, ...image] : image;
      this.layout.create(key, { lowers, merged: true });
      this.#copyRoot(key, image);
      this.records.addSnapshot({ key, parent, init });
    } catch (error) {
      this.discardSnapshot(key);
      throw error;
    }
  }

  mounts(key: string): Mount[] {
    const lowers = this.#lowersOfSnapshot(this.require(key));
    const target = this.mergedDirectory(key);
    // An overlay needs something below; a snapshot of nothing is its own diff.
    if (lowers.length === 0) return [{ type: "bind", source: this.diffDirectory(key), target, options: ["bind"] }];
    const stack = {
      lowers: lowers.map((id) => this.layout.link(id)),
      upper: `${key}/diff`,
      work: `${key}/work`,
      target,
      workingDirectory: this.layout.root,
    };
    return [this.#flavour.mount(stack)];
  }

  mergedDirectory(key: string): string {
    this.require(key);
    return join(this.layout.directory(key), "merged");
  }

  diffDirectory(key: string): string {
    this.require(key);
    return this.layout.diff(key);
  }

  readDirectories(key: string): string[] {
    return [key, ...this.#lowersOfSnapshot(this.require(key))].map((id) => this.layout.diff(id));
  }

  layerDirectory(chainId: string): string {
    return this.layout.diff(this.requireLayer(chainId).directoryId);
  }

  async commit(key: string, options: { lasting?: boolean } = {}): Promise<Layer | undefined> {
    const snapshot = this.require(key);
    if (this.layout.isMounted(key)) throw new EngineError("conflict", `The snapshot "${key}" is mounted`);
    if (!this.#flavour.keepsPlainDiffs) {
      const copy = await this.commitCopy(key);
      await this.remove(key);
      return copy;
    }
    const diff = this.layout.diff(key);
    const below = this.#lowersOf(snapshot.parent);
    const view = this.#view(below);
    dropInitWhiteouts(diff, view);
    if (await isEmptyTree(diff, { below: view, walk: this.#flavour.walk })) {
      await this.remove(key);
      return undefined;
    }
    this.#requireRoom(below.length);
    const hashed = hashingStream(packLayer(diff, { reusesMemory: true }));
    for await (const _ of hashed.stream);
    const chainId = chainIdOf(snapshot.parent, hashed.digest());
    const present = this.layer(chainId);
    if (present) {
      await this.remove(key);
      return present;
    }
    const sizeBytes = await treeSize(diff);
    const id = newId();
    const made = { parent: snapshot.parent, diffId: hashed.digest(), id, sizeBytes, instead: key };
    const layer = await this.#become(made, { diff, below, ...options });
    this.discardSnapshot(key);
    return layer;
  }

  /** A snapshot's diff becomes a layer's; when the disk takes no directory or record, it is the snapshot's again. */
  async #become(
    made: MadeLayer,
    { diff, below, ...options }: { diff: string; below: readonly string[]; lasting?: boolean },
  ): Promise<Layer> {
    try {
      this.layout.create(made.id, { lowers: below, diff: false });
      renameSync(diff, this.layout.diff(made.id));
      return await this.record(made, options);
    } catch (error) {
      if (!existsSync(diff)) renameSync(this.layout.diff(made.id), diff);
      this.layout.discard(made.id, this.trash);
      throw error;
    }
  }

  async commitCopy(key: string): Promise<Layer | undefined> {
    const snapshot = this.require(key);
    const diff = this.layout.diff(key);
    const below = this.#lowersOf(snapshot.parent);
    const view = this.#view(below);
    const dropped = initWhiteouts(diff, view);
    const walk = { below: view, skip: (path: string) => dropped.has(path) };
    if (await isEmptyTree(diff, { ...walk, walk: this.#flavour.walk })) return undefined;
    this.#requireRoom(below.length);
    return this.unpack(snapshot.parent, this.#pack(diff, walk), {});
  }

  async changes(key: string): Promise<Change[]> {
    const lowers = this.#lowersOfSnapshot(this.require(key));
    return listChanges(this.layout.diff(key), { below: this.#view(lowers), walk: this.#flavour.walk });
  }

  async usage(key: string): Promise<number> {
    return treeSize(this.diffDirectory(key));
  }

  packLayer(chainId: string): AsyncIterable<Uint8Array> {
    return packLayer(this.layout.diff(this.requireLayer(chainId).directoryId));
  }

  async *#pack(diff: string, options: UpperWalk): AsyncGenerator<Uint8Array> {
    const rootFd = openDirectory(diff);
    try {
      yield* packLayerNodes(rootFd, this.#flavour.walk(rootFd, options));
    } finally {
      closeFd(rootFd);
    }
  }

  graphDriver(keyOrChainId: string): GraphDriver {
    const snapshot = this.records.snapshot(keyOrChainId);
    const id = snapshot ? keyOrChainId : this.requireLayer(keyOrChainId).directoryId;
    const lowers = snapshot ? this.#lowersOfSnapshot(snapshot) : this.#lowersOf(this.layer(keyOrChainId)?.parent);
    const Data: Record<string, string> = {};
    if (lowers.length > 0) Data["LowerDir"] = lowers.map((lower) => this.layout.diff(lower)).join(":");
    Data["MergedDir"] = join(this.layout.directory(id), "merged");
    Data["UpperDir"] = this.layout.diff(id);
    Data["WorkDir"] = join(this.layout.directory(id), "work");
    return { Name: this.name, Data };
  }

  status(): [string, string][] {
    return this.#flavour.status(this.layout.root);
  }

  /** Layers do not wait for each other until all is unpacked: a directory's own files are the same whatever lies below. */
  protected async unpack(parent: ParentLayer, tar: AsyncIterable<Uint8Array>, expected: ExpectedLayer): Promise<Layer> {
    const id = newId();
    try {
      this.layout.create(id, { lowers: [] });
      const diff = this.layout.diff(id);
      const applied = await unpackLayer(tar, diff, { stacked: true });
      requireDiffId(applied.diffId, expected);
      const known = await parent;
      const below = this.#lowersOf(known);
      this.#requireRoom(below.length);
      requireChainId(chainIdOf(known, applied.diffId), expected);
      const settled = await settleLayer(
        diff,
        applied,
        below.map((lower) => this.layout.diff(lower)),
      );
      const present = this.layer(chainIdOf(known, applied.diffId));
      if (present) {
        this.layout.discard(id, this.trash);
        return present;
      }
      this.layout.stack(id, below);
      const sizeBytes = applied.sizeBytes + settled.copiedBytes;
      const recorded = this.record({ parent: known, diffId: applied.diffId, id, sizeBytes });
      expected.onPlaced?.();
      return await recorded;
    } catch (error) {
      this.layout.discard(id, this.trash);
      // Whoever cleans up after it needs some of the space.
      if (toEngineError(error).code === "resourceExhausted") await this.trash.settled();
      throw error;
    }
  }

  #makeInit(key: string, image: readonly string[]): void {
    const id = `${key}-init`;
    this.layout.create(id, { lowers: image });
    const view = this.#view(image);
    fillInitLayer(this.layout.diff(id), view);
    this.#copyRoot(id, image);
  }

  /** The topmost directory's root is what shows as `/`. */
  #copyRoot(id: string, image: readonly string[]): void {
    const top = image[0];
    if (top === undefined) return;
    const node = this.#view([top]).find("");
    if (node) copyAttributes(node, this.layout.diff(id), "");
  }

  /** What these directories show together, top first. */
  #view(ids: readonly string[]): LowerView {
    return new LowerView(ids.map((id) => this.layout.diff(id)));
  }

  #requireRoom(layersBelow: number): void {
    if (layersBelow < maxLayers) return;
    throw new EngineError(
      "resourceExhausted",
      `Cannot stack ${layersBelow + 1} layers: ${maxLayers} is the limit, since one overlay mount names them all in a page`,
      { data: { limit: maxLayers } },
    );
  }

  /** Directory names of a chain, top first. */
  #lowersOf(parent: string | undefined): string[] {
    if (parent === undefined) return [];
    const placed = this.layer(parent) ? undefined : this.placed(parent);
    if (placed) return [placed.id, ...this.#lowersOf(placed.parent)];
    return this.chain(parent).map((layer) => layer.directoryId);
  }

  #lowersOfSnapshot({ key, parent, init }: SnapshotRecord): string[] {
    const image = this.#lowersOf(parent);
    return init ? [`${key}-init`, ...image] : image;
  }
}
