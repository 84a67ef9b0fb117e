import {
  familiarString,
  parseReference,
  withDefaultTag,
  type ImageHistoryItem,
  type ImageInspect,
  type ImageSummary,
  type Panorama,
  type Platform,
  type ProgressMessage,
} from "../spec/index.ts";
import type { ImageRecord } from "../image/index.ts";
import type { Filters, ImageService } from "./contract.ts";
import { findImage } from "./container-creation.ts";
import type { Core } from "./core.ts";
import { imageUsers } from "./image-users.ts";
import { publishPrune } from "./prune-event.ts";

type Deleted = { Untagged: string } | { Deleted: string };

/** The image store with what only the engine knows: which containers use an image, and who wants to hear of changes. */
export class EngineImages implements ImageService {
  constructor(private readonly core: Core) {}

  async list(options: Parameters<ImageService["list"]>[0]): Promise<ImageSummary[]> {
    return this.core.images.summaries({ ...options, usedBy: imageUsers(this.core) });
  }

  async inspect(reference: string, options: { platform?: Platform; manifests?: boolean } = {}): Promise<ImageInspect> {
    await findImage(this.core, reference);
    return this.core.images.inspect(reference, { ...options, usedBy: imageUsers(this.core) });
  }

  async history(reference: string, platform?: Platform): Promise<ImageHistoryItem[]> {
    await findImage(this.core, reference);
    return this.core.images.history(reference, platform);
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
    this.#publishTag(this.core.images.get(source).id, `${target.repository}:${target.tag}`);
  }

  async remove(
    reference: string,
    options: { force: boolean; noPrune: boolean; platforms?: readonly Platform[] },
  ): Promise<Deleted[]> {
    const before = this.core.images.list();
    const removed = await this.core.images.remove(reference, { ...options, usedBy: imageUsers(this.core) });
    this.#publishRemoval(removed, before);
    return removed;
  }

  async *import(
    tar: AsyncIterable<Uint8Array>,
    options: Parameters<ImageService["import"]>[1],
  ): AsyncGenerator<ProgressMessage> {
    yield* this.core.images.import(tar, options);
    if (!options.reference) return;
    const { id } = this.core.images.get(options.reference);
    this.#publishTag(id, options.reference);
    this.#publish("import", id);
  }

  async *load(
    archive: AsyncIterable<Uint8Array>,
    options: { quiet: boolean; platform?: Platform },
  ): AsyncGenerator<ProgressMessage> {
    for await (const message of this.core.images.load(archive, options)) {
      yield message;
      const [, name] = /^Loaded image(?: ID)?: (\S+)/.exec(message.stream ?? "") ?? [];
      if (name) this.#publish("load", this.core.images.get(name).id);
    }
  }

  async save(references: readonly string[], platform?: Platform): Promise<AsyncIterable<Uint8Array>> {
    const archive = await this.core.images.save(references, platform);
    for (const id of new Set(references.flatMap((name) => this.core.images.find(name)?.id ?? [])))
      this.#publish("save", id);
    return archive;
  }

  fromHost(reference: string, programs: readonly string[]): AsyncIterable<ProgressMessage> {
    return this.core.images.fromHost(reference, programs);
  }

  async prune(filters: Filters): Promise<{ deleted: Deleted[]; spaceReclaimed: number }> {
    const before = this.core.images.list();
    const pruned = await this.core.images.prune(filters, { usedBy: imageUsers(this.core) });
    this.#publishRemoval(pruned.deleted, before);
    publishPrune(this.core, "image", pruned.spaceReclaimed);
    return pruned;
  }

  /** `before`: the images that there were. Removed layers are in the list too: nothing is told of them. */
  #publishRemoval(removed: readonly Deleted[], before: readonly ImageRecord[]): void {
    const named = (name: string): ImageRecord | undefined =>
      before.find(({ repoTags, repoDigests }) => [...repoTags, ...repoDigests].includes(name));
    for (const item of removed) {
      if ("Untagged" in item) this.#publish("untag", named(item.Untagged)?.id ?? item.Untagged);
      else if (before.some(({ id }) => id === item.Deleted)) this.#publish("delete", item.Deleted);
    }
  }

  #publishTag(id: string, name: string): void {
    this.#publish("tag", id, familiarString(withDefaultTag(parseReference(name))));
  }

  /** But for a tag, docker names the image by its id. */
  #publish(action: string, id: string, name = id): void {
    const labels = this.core.images.find(id)?.config.config?.Labels ?? {};
    this.core.events.publish("image", action, { id, attributes: { ...labels, name } });
  }
}
