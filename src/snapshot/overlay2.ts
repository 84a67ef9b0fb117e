import type { Database } from "bun:sqlite";
import { existsSync, renameSync } from "node:fs";
import { join } from "node:path";
import { applyLayer, hashingStream, packLayer, treeSize } from "../archive/index.ts";
import { EngineError, newId, type Paths } from "../common/index.ts";
import { closeFd, filesystemOf, listsTypes, openDirectory, openFlags, openInRoot, syncfs } from "../kernel/index.ts";
import type { GraphDriver, Mount } from "../spec/index.ts";
import { Arrivals, requireChainId, requireDiffId } from "./arrivals.ts";
import { chainIdOf } from "./chain-id.ts";
import { listChanges } from "./changes.ts";
import { copyAttributes } from "./copy-attributes.ts";
import { dropInitWhiteouts, fillInitLayer, initWhiteouts } from "./init-layer.ts";
import { isEmptyTree } from "./is-empty-tree.ts";
import { LowerView } from "./lower-view.ts";
import { Overlay2Layout, isKey, maxLayers, overlayOptions } from "./overlay2-layout.ts";
import { SnapshotRecords, type SnapshotRecord } from "./records.ts";
import { settleLayer } from "./settle-layer.ts";
import type { Change, ExpectedLayer, Layer, ParentLayer, Snapshotter } from "./snapshotter.ts";
import { Trash } from "./trash.ts";

interface Overlay2Options {
  readonly paths: Paths;
  readonly db: Database;
  /** For records of active snapshots: a connection to the same file that may lose its last words in a power cut. Absent: `db`. */
  readonly runState?: Database;
}

/**
 * Snapshots by the kernel's overlay file system, with Docker's names on disk: `<root>/overlay2/<id>/{diff,link,lower,work,merged}`.
 * Sweeps what an earlier run left unrecorded. One a root at a time.
 */
export function createOverlay2(options: Overlay2Options): Snapshotter & { settled(): Promise<void> } {
  return new Overlay2(options);
}

class Overlay2 implements Snapshotter {
  readonly name = "overlay2";
  readonly #records: SnapshotRecords;
  readonly #layout: Overlay2Layout;
  readonly #trash: Trash;
  readonly #arrivals = new Arrivals((chainId) => this.layer(chainId));

  constructor(options: Overlay2Options) {
    this.#records = new SnapshotRecords(options.db, options.runState ?? options.db);
    this.#layout = new Overlay2Layout(options.paths.overlay2);
    this.#trash = new Trash(options.paths.trash);
    this.#sweep();
  }

  /** Resolves once everything removed so far is deleted. */
  settled(): Promise<void> {
    return this.#trash.settled();
  }

  async apply(parent: ParentLayer, tar: AsyncIterable<Uint8Array>, expected: ExpectedLayer = {}): Promise<Layer> {
    if (!(parent instanceof Promise)) this.#requireRoom(this.#lowersOf(parent).length);
    return this.#arrivals.once({ parent, tar, expected }, () => this.#unpack(parent, tar, expected));
  }

  layer(chainId: string): Layer | undefined {
    return this.#records.layer(chainId);
  }

  layers(): Layer[] {
    return this.#records.layers();
  }

  chain(chainId: string): Layer[] {
    const chain = this.#records.chain(chainId);
    if (chain.length === 0) throw new EngineError("notFound", `No layer "${chainId}" is in overlay2`);
    return chain;
  }

  async prepare(key: string, parent: string | undefined, options: { hostFiles?: boolean } = {}): Promise<void> {
    if (!isKey(key)) throw new EngineError("invalidArgument", `"${key}" cannot name a snapshot`);
    if (this.#records.snapshot(key)) throw new EngineError("alreadyExists", `A snapshot "${key}" is there already`);
    const image = this.#lowersOf(parent);
    if (image.length > maxLayers) this.#requireRoom(image.length - 1);
    const init = options.hostFiles !== false;
    // A crash, or a failure below, can have left directories of that name.
    for (const id of [`${key}-init`, key]) this.#layout.discard(id, this.#trash);
    try {
      if (init) this.#makeInit(key, image);
      const lowers = init ? [`${key}-init`, ...image] : image;
      this.#layout.create(key, { lowers, merged: true });
      this.#copyRoot(key, image);
      this.#records.addSnapshot({ key, parent, init });
    } catch (error) {
      for (const id of [`${key}-init`, key]) this.#layout.discard(id, this.#trash);
      throw error;
    }
  }

  mounts(key: string): Mount[] {
    const lowers = this.#lowersOfSnapshot(this.#require(key));
    const target = this.mergedDirectory(key);
    // An overlay needs something below; a snapshot of nothing is its own diff.
    if (lowers.length === 0) return [{ type: "bind", source: this.diffDirectory(key), target, options: ["bind"] }];
    const lowerdir = lowers.map((id) => this.#layout.link(id)).join(":");
    return [
      {
        type: "overlay",
        source: "overlay",
        target,
        options: [`lowerdir=${lowerdir}`, `upperdir=${key}/diff`, `workdir=${key}/work`, ...overlayOptions],
        workingDirectory: this.#layout.root,
      },
    ];
  }

  mergedDirectory(key: string): string {
    this.#require(key);
    return join(this.#layout.directory(key), "merged");
  }

  diffDirectory(key: string): string {
    this.#require(key);
    return this.#layout.diff(key);
  }

  readDirectories(key: string): string[] {
    return [key, ...this.#lowersOfSnapshot(this.#require(key))].map((id) => this.#layout.diff(id));
  }

  layerDirectory(chainId: string): string {
    return this.#layout.diff(this.#requireLayer(chainId).directoryId);
  }

  async commit(key: string): Promise<Layer | undefined> {
    const snapshot = this.#require(key);
    if (this.#layout.isMounted(key)) throw new EngineError("conflict", `The snapshot "${key}" is mounted`);
    const diff = this.#layout.diff(key);
    const below = this.#lowersOf(snapshot.parent);
    const view = this.#view(below);
    dropInitWhiteouts(diff, view);
    if (await isEmptyTree(diff, view)) {
      await this.remove(key);
      return undefined;
    }
    this.#requireRoom(below.length);
    const hashed = hashingStream(packLayer(diff));
    for await (const _ of hashed.stream);
    const chainId = chainIdOf(snapshot.parent, hashed.digest());
    const present = this.layer(chainId);
    if (present) {
      await this.remove(key);
      return present;
    }
    const sizeBytes = await treeSize(diff);
    const id = newId();
    this.#layout.create(id, { lowers: below, diff: false });
    renameSync(diff, this.#layout.diff(id));
    const layer = await this.#record({ parent: snapshot.parent, diffId: hashed.digest(), id, sizeBytes, instead: key });
    this.#discardSnapshot(key);
    return layer;
  }

  async commitCopy(key: string): Promise<Layer | undefined> {
    const snapshot = this.#require(key);
    const diff = this.#layout.diff(key);
    const below = this.#lowersOf(snapshot.parent);
    const view = this.#view(below);
    const skip = initWhiteouts(diff, view);
    if (await isEmptyTree(diff, view, skip)) return undefined;
    this.#requireRoom(below.length);
    return this.#unpack(snapshot.parent, packLayer(diff, { skip: (path) => skip.has(path) }), {});
  }

  async changes(key: string): Promise<Change[]> {
    const lowers = this.#lowersOfSnapshot(this.#require(key));
    return listChanges(this.#layout.diff(key), this.#view(lowers));
  }

  async usage(key: string): Promise<number> {
    return treeSize(this.diffDirectory(key));
  }

  packLayer(chainId: string): AsyncIterable<Uint8Array> {
    return packLayer(this.#layout.diff(this.#requireLayer(chainId).directoryId));
  }

  graphDriver(keyOrChainId: string): GraphDriver {
    const snapshot = this.#records.snapshot(keyOrChainId);
    const id = snapshot ? keyOrChainId : this.#requireLayer(keyOrChainId).directoryId;
    const lowers = snapshot ? this.#lowersOfSnapshot(snapshot) : this.#lowersOf(this.layer(keyOrChainId)?.parent);
    const Data: Record<string, string> = {};
    if (lowers.length > 0) Data["LowerDir"] = lowers.map((lower) => this.#layout.diff(lower)).join(":");
    Data["MergedDir"] = join(this.#layout.directory(id), "merged");
    Data["UpperDir"] = this.#layout.diff(id);
    Data["WorkDir"] = join(this.#layout.directory(id), "work");
    return { Name: this.name, Data };
  }

  async remove(key: string): Promise<void> {
    this.#records.removeSnapshot(key);
    if (isKey(key)) this.#discardSnapshot(key);
  }

  async removeLayer(chainId: string): Promise<void> {
    const layer = this.layer(chainId);
    if (!layer) return;
    const dependant = this.#records.dependant(chainId);
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
    const { type } = filesystemOf(this.#layout.root);
    return [
      ["Backing Filesystem", type === "ext4" ? "extfs" : type],
      ["Supports d_type", String(this.#supportsTypes())],
      ["Using metacopy", "false"],
      ["Native Overlay Diff", "true"],
      ["userxattr", "false"],
    ];
  }

  #supportsTypes(): boolean {
    const rootFd = openDirectory(this.#layout.root);
    const fd = openInRoot(rootFd, ".", { flags: openFlags.directory });
    const told = listsTypes(fd);
    closeFd(fd);
    closeFd(rootFd);
    return told !== false;
  }

  /** Layers do not wait for each other until all is unpacked: a directory's own files are the same whatever lies below. */
  async #unpack(parent: ParentLayer, tar: AsyncIterable<Uint8Array>, expected: ExpectedLayer): Promise<Layer> {
    const id = newId();
    this.#layout.create(id, { lowers: [] });
    try {
      const hashed = hashingStream(tar);
      const diff = this.#layout.diff(id);
      const applied = await applyLayer(hashed.stream, diff, { stacked: true });
      requireDiffId(hashed.digest(), expected);
      const known = await parent;
      const below = this.#lowersOf(known);
      this.#requireRoom(below.length);
      requireChainId(chainIdOf(known, hashed.digest()), expected);
      const settled = await settleLayer(
        diff,
        applied,
        below.map((lower) => this.#layout.diff(lower)),
      );
      const present = this.layer(chainIdOf(known, hashed.digest()));
      if (present) {
        this.#layout.discard(id, this.#trash);
        return present;
      }
      this.#layout.stack(id, below);
      const sizeBytes = applied.sizeBytes + settled.copiedBytes;
      return await this.#record({ parent: known, diffId: hashed.digest(), id, sizeBytes });
    } catch (error) {
      this.#layout.discard(id, this.#trash);
      throw error;
    }
  }

  /** Everything is on disk before the record says so. */
  async #record(made: {
    parent: string | undefined;
    diffId: string;
    id: string;
    sizeBytes: number;
    instead?: string;
  }): Promise<Layer> {
    await syncfs(this.#layout.root);
    const layer: Layer = {
      chainId: chainIdOf(made.parent, made.diffId),
      diffId: made.diffId,
      parent: made.parent,
      directoryId: made.id,
      sizeBytes: made.sizeBytes,
      createdAt: new Date().toISOString(),
    };
    const raced = this.layer(layer.chainId);
    if (raced) {
      this.#layout.discard(made.id, this.#trash);
      if (made.instead !== undefined) this.#records.removeSnapshot(made.instead);
      return raced;
    }
    this.#records.addLayer(layer, made.instead);
    return layer;
  }

  #makeInit(key: string, image: readonly string[]): void {
    const id = `${key}-init`;
    this.#layout.create(id, { lowers: image });
    const view = this.#view(image);
    fillInitLayer(this.#layout.diff(id), view);
    this.#copyRoot(id, image);
  }

  /** The topmost directory's root is what shows as `/`. */
  #copyRoot(id: string, image: readonly string[]): void {
    const top = image[0];
    if (top === undefined) return;
    const node = this.#view([top]).find("");
    if (node) copyAttributes(node, this.#layout.diff(id), "");
  }

  /** What these directories show together, top first. */
  #view(ids: readonly string[]): LowerView {
    return new LowerView(ids.map((id) => this.#layout.diff(id)));
  }

  #require(key: string): SnapshotRecord {
    const snapshot = this.#records.snapshot(key);
    if (!snapshot) throw new EngineError("notFound", `No snapshot "${key}" is in overlay2`);
    return snapshot;
  }

  #requireLayer(chainId: string): Layer {
    const layer = this.layer(chainId);
    if (!layer) throw new EngineError("notFound", `No layer "${chainId}" is in overlay2`);
    return layer;
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
    return parent === undefined ? [] : this.chain(parent).map((layer) => layer.directoryId);
  }

  #lowersOfSnapshot({ key, parent, init }: SnapshotRecord): string[] {
    const image = this.#lowersOf(parent);
    return init ? [`${key}-init`, ...image] : image;
  }

  #discardSnapshot(key: string): void {
    for (const id of [key, `${key}-init`]) this.#layout.discard(id, this.#trash);
  }

  #sweep(): void {
    for (const { key } of this.#records.snapshots()) {
      // A commit was cut off between its rename and its record.
      if (!existsSync(this.#layout.diff(key))) this.#records.removeSnapshot(key);
    }
    const known = new Set(this.#records.layers().map((layer) => layer.directoryId));
    for (const { key, init } of this.#records.snapshots()) {
      known.add(key);
      if (init) known.add(`${key}-init`);
    }
    this.#layout.sweep(known, this.#trash);
  }
}
