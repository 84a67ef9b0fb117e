import {
  type ImageHistoryItem,
  type ImageInspect,
  type ImageSummary,
  type Panorama,
  type ProgressMessage,
} from "../spec/index.ts";
import type { Filters, ImageService } from "./contract.ts";
import { findImage } from "./container-creation.ts";
import type { Core } from "./core.ts";

type Deleted = { Untagged: string } | { Deleted: string };

/** The image store with what only the engine knows: which containers use an image, and who wants to hear of changes. */
export class EngineImages implements ImageService {
  constructor(private readonly core: Core) {}

  async list(options: Parameters<ImageService["list"]>[0]): Promise<ImageSummary[]> {
    return this.core.images.summaries({ ...options, usedBy: (id) => this.#users(id) });
  }

  async inspect(reference: string): Promise<ImageInspect> {
    return this.core.images.inspect((await findImage(this.core, reference)).id);
  }

  async history(reference: string): Promise<ImageHistoryItem[]> {
    return this.core.images.history((await findImage(this.core, reference)).id);
  }

  async layers(reference: string): Promise<Panorama["imageLayers"]> {
    const image = await findImage(this.core, reference);
    const instructions = (image.config.history ?? [])
      .filter((entry) => !entry.empty_layer)
      .map((entry) => entry.created_by ?? "");
    const layers = image.layers.map((layer, index) => ({
      directory: this.core.snapshots.layerDirectory(layer.chainId),
      diffId: layer.diffId,
      instruction: instructions[index] ?? "",
      sizeBytes: layer.sizeBytes,
    }));
    return layers.reverse();
  }

  async tag(source: string, target: { repository: string; tag: string }): Promise<void> {
    await this.core.images.tag(source, target);
    this.#publish("tag", this.core.images.get(source).id, `${target.repository}:${target.tag}`);
  }

  async remove(reference: string, options: { force: boolean; noPrune: boolean }): Promise<Deleted[]> {
    const { id } = this.core.images.get(reference);
    const removed = await this.core.images.remove(reference, { ...options, usedBy: (imageId) => this.#users(imageId) });
    for (const item of removed) {
      if ("Untagged" in item) this.#publish("untag", id, item.Untagged);
      else this.#publish("delete", item.Deleted, item.Deleted);
    }
    return removed;
  }

  async *import(
    tar: AsyncIterable<Uint8Array>,
    options: Parameters<ImageService["import"]>[1],
  ): AsyncGenerator<ProgressMessage> {
    yield* this.core.images.import(tar, options);
    if (options.reference) this.#publish("import", this.core.images.get(options.reference).id, options.reference);
  }

  async *load(archive: AsyncIterable<Uint8Array>, options: { quiet: boolean }): AsyncGenerator<ProgressMessage> {
    for await (const message of this.core.images.load(archive, options)) {
      yield message;
      const [, name] = /^Loaded image(?: ID)?: (\S+)/.exec(message.stream ?? "") ?? [];
      if (name) this.#publish("load", this.core.images.get(name).id, name);
    }
  }

  save(references: readonly string[]): Promise<AsyncIterable<Uint8Array>> {
    return this.core.images.save(references);
  }

  fromHost(reference: string, programs: readonly string[]): AsyncIterable<ProgressMessage> {
    return this.core.images.fromHost(reference, programs);
  }

  async prune(filters: Filters): Promise<{ deleted: Deleted[]; spaceReclaimed: number }> {
    return this.core.images.prune(filters, { usedBy: (imageId) => this.#users(imageId) });
  }

  #users(imageId: string): { id: string; running: boolean }[] {
    return this.core.store
      .all()
      .filter((record) => record.imageId === imageId)
      .map((record) => ({ id: record.id, running: record.state.phase === "running" }));
  }

  #publish(action: string, id: string, name: string): void {
    this.core.events.publish("image", action, { id, attributes: { name } });
  }
}
