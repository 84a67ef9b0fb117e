import {
  canonicalString,
  parseReference,
  repositoryName,
  withDefaultTag,
  type Descriptor,
  type ImageHistoryItem,
  type ImageInspect,
  type ImageSummary,
  type Platform,
  type ProgressMessage,
} from "../spec/index.ts";
import type { Attestation } from "./attestation-table.ts";
import { attestImage, attestedPredicate } from "./attest-image.ts";
import { CarriedLayers } from "./carried-layers.ts";
import { checkImages, type ImageCheckCounts } from "./check-images.ts";
import { collectImages } from "./collect-images.ts";
import { createImage } from "./create-image.ts";
import { createIndex } from "./create-index.ts";
import { EmbeddedImages } from "./embedded-images.ts";
import { makeFromHost } from "./from-host.ts";
import type { Finding } from "./finding.ts";
import { imageHistory } from "./image-history.ts";
import { getImageFor, indexMeant, membersMeant } from "./image-platform.ts";
import { inspectImage } from "./image-inspect.ts";
import { findImage, getImage } from "./image-lookup.ts";
import type {
  CreateImageOptions,
  DeletedItem,
  Filters,
  ImageRecord,
  ImageServices,
  ImageStoreOptions,
  ImageUsers,
} from "./image-record.ts";
import { summarizeImages, type SummaryOptions } from "./image-summaries.ts";
import { ImageTable, referenceText } from "./image-table.ts";
import { importImage, type ImportOptions } from "./import-image.ts";
import { LayerHolds, type LayerHold } from "./layer-holds.ts";
import { releaseLayers } from "./layer-release.ts";
import { loadImages } from "./load-images.ts";
import { pullImage, type PullOptions } from "./pull-image.ts";
import { pushImage, type PushOptions } from "./push-image.ts";
import { SharedWork, type Work } from "./shared-work.ts";
import { pruneImages } from "./prune-images.ts";
import { removeImage } from "./remove-image.ts";
import { saveImageAs, saveImages, saveIndexAs } from "./save-images.ts";
import { tagImage } from "./tag-image.ts";

/** Matched as text: whatever else people may pass, an id or no reference at all, is not an embedded image. */
const embeddedName = /^(?:(?:index\.)?docker\.io\/)?(vitrine\/(?:base|bun))(?::latest)?$/;

/**
 * The images of one engine: records in SQLite, configs and foreign layer blobs in the content store, layers in the
 * snapshotter. An image's id is the sha256 of its config's bytes, which are kept as they came.
 *
 * A layer is born before the image that names it. Whoever makes one keeps a hold meanwhile, or a removal elsewhere may take it:
 *
 *     using hold = images.hold("build");
 *     hold.add(base.chainId);
 *     const layer = await snapshots.commit(key);
 *     hold.add(layer.chainId);
 *     await images.create(configBytes, { layers: [...], parent: base.id, reference: "app:v1" });
 */
export class ImageStore {
  readonly #services: ImageServices;
  readonly #embedded: EmbeddedImages;
  readonly #pulls = new SharedWork();

  constructor(options: ImageStoreOptions) {
    this.#services = {
      ...options,
      table: new ImageTable(options),
      holds: new LayerHolds(options.snapshots),
    };
    this.#embedded = new EmbeddedImages(this.#services);
  }

  /** By tag, digest, id, or unique id prefix. Throws notFound `No such image: x:latest`. */
  get(referenceOrId: string): ImageRecord {
    return getImage(this.#services.table, referenceOrId);
  }

  /** As `get`; undefined when there is none. Throws invalidArgument for what is no reference, and for an ambiguous prefix. */
  find(referenceOrId: string): ImageRecord | undefined {
    return findImage(this.#services.table, referenceOrId);
  }

  /** As `get`, for one platform of those that a name stands for. Throws notFound, with Docker's words, when it is not here. */
  getFor(referenceOrId: string, platform: Platform): ImageRecord {
    return getImageFor(this.#services.table, referenceOrId, platform);
  }

  /** Whether a name stands for this image, as that of one platform among others. */
  means(reference: string, id: string): boolean {
    return (
      this.find(reference)?.id === id ||
      membersMeant(this.#services.table, reference).some(({ imageId }) => imageId === id)
    );
  }

  /** All, intermediate ones too, in no order. */
  list(): ImageRecord[] {
    return this.#services.table.all();
  }

  /** Ids of the images built on this one. */
  children(id: string): string[] {
    return this.#services.table.children(id);
  }

  /** Records an image; its config bytes are its identity, so the same bytes give the same image. */
  async create(configBytes: Uint8Array, options: CreateImageOptions): Promise<ImageRecord> {
    return createImage(this.#services, configBytes, options);
  }

  /**
   * Makes one index of images of several platforms, with what is attested of them, in the order of `ids`; their layers are compressed
   * now, as for a push. Names, where there are any, stand for all of it.
   */
  async createIndex(
    ids: readonly string[],
    options: { names: readonly string[]; signal: AbortSignal },
  ): Promise<Descriptor> {
    await this.sync();
    return createIndex(this.#services, ids, options);
  }

  /** Forgets an index that no name stands for; its images stay. */
  forgetIndex(digest: string): void {
    const { table } = this.#services;
    table.atomically(() => {
      if (!table.indexes.isNamed(digest)) table.indexes.forget(digest);
    });
  }

  /** Resolves once every image, and every layer, that is there now outlives a power cut. */
  async sync(): Promise<void> {
    return this.#services.table.unsynced.sync(this.#services);
  }

  /** Keeps layers that no image names yet from being collected. Dispose it when the image is created. */
  hold(purpose: string): LayerHold {
    return this.#services.holds.hold(purpose);
  }

  /** Keeps the layers that another room's records name by their tops, for as long as they do. */
  keepLayersOf(tops: () => Iterable<string>): void {
    this.#services.holds.keepAlso(tops);
  }

  /** Removes those layers of a chain, top first, that nothing needs any more; returns their chainIDs. */
  async releaseLayers(chainIds: readonly string[]): Promise<string[]> {
    return releaseLayers(this.#services, chainIds);
  }

  /** Layers to and from places that are no images: the caches of builds. */
  carry(purpose: string): CarriedLayers {
    return new CarriedLayers(this.#services, purpose);
  }

  /** Puts `repository:tag` on an image; the tag moves when another image had it. */
  async tag(source: string, target: { repository: string; tag: string }): Promise<void> {
    await this.sync();
    tagImage(this.#services.table, source, target);
  }

  /** Records the digest under which a registry knows the image: `repository@sha256:…`, whose manifest is then kept. */
  async addDigest(id: string, target: { repository: string; digest: string }): Promise<void> {
    const repository = repositoryName(parseReference(target.repository));
    this.#services.table.putDigest(this.get(id).id, { repository, digest: target.digest });
  }

  /** Keeps a predicate with an image (in-toto): a push states it of the manifest. One of each type; the latest counts. */
  async attest(id: string, said: { predicateType: string; predicate: object }): Promise<void> {
    return attestImage(this.#services, this.get(id).id, said);
  }

  /** What is attested of an image, in order of the types. */
  attestations(id: string): Attestation[] {
    return this.#services.table.attestations.of(this.get(id).id);
  }

  /** The predicate of a type that is attested of an image. Throws notFound. */
  attestedPredicate(id: string, predicateType: string): object {
    return attestedPredicate(this.#services, { imageId: this.get(id).id, predicateType });
  }

  /** Untags, and deletes what has no reference left, by Docker's rules. Throws conflict with Docker's words. */
  async remove(
    reference: string,
    options: { force: boolean; noPrune: boolean; usedBy: ImageUsers; platforms?: readonly Platform[] },
  ): Promise<DeletedItem[]> {
    return removeImage(this.#services, reference, options);
  }

  /** Newest first. An image without a tag has empty lists; API versions before 1.43 show them as `<none>:<none>`. */
  async summaries(options: SummaryOptions): Promise<ImageSummary[]> {
    return summarizeImages(this.#services, options);
  }

  /** With a platform: that one of the name's. */
  async inspect(
    reference: string,
    options: { platform?: Platform; manifests?: boolean; usedBy?: ImageUsers } = {},
  ): Promise<ImageInspect> {
    const { platform } = options;
    const image = platform ? this.getFor(reference, platform) : this.get(reference);
    const index = platform ? undefined : indexMeant(this.#services.table, reference);
    return inspectImage(this.#services, image, { ...options, index });
  }

  async history(reference: string, platform?: Platform): Promise<ImageHistoryItem[]> {
    return imageHistory(this.#services.table, platform ? this.getFor(reference, platform) : this.get(reference));
  }

  /** A tar (perhaps compressed) becomes an image of one layer; the last message's status is its id. */
  import(tar: AsyncIterable<Uint8Array>, options: ImportOptions): AsyncGenerator<ProgressMessage> {
    return importImage(this.#services, tar, options);
  }

  /** Reads a docker-archive or an OCI layout, perhaps compressed. */
  load(
    archive: AsyncIterable<Uint8Array>,
    options: { quiet: boolean; platform?: Platform },
  ): AsyncGenerator<ProgressMessage> {
    return loadImages(this.#services, archive, options);
  }

  /**
   * Downloads an image from its registry. Clients that ask for the same as the same user share one download, which ends when
   * the last of them leaves.
   */
  pull(name: string, options: PullOptions): AsyncGenerator<ProgressMessage> {
    const reference = withDefaultTag(parseReference(name));
    const key = JSON.stringify([canonicalString(reference), options.platform ?? null, options.credentials ?? null]);
    const work: Work = (tell, signal) => pullImage(this.#services, reference, { ...options, tell, signal });
    return this.#pulls.join(key, work, options.left);
  }

  /** Uploads one tag to the registry that its name says. */
  push(name: string, options: PushOptions): AsyncGenerator<ProgressMessage> {
    return pushImage(this.#services, name, options);
  }

  /** Tags of a repository that are here, as people write them: `app:v1`. */
  tagsOf(name: string): string[] {
    return this.#services.table
      .referencesOfRepository(repositoryName(parseReference(name)))
      .filter((reference) => "tag" in reference)
      .map(referenceText);
  }

  /** One archive of both forms: OCI layout and docker-archive's manifest.json over the same blobs. */
  async save(references: readonly string[], platform?: Platform): Promise<AsyncIterable<Uint8Array>> {
    return saveImages(this.#services, references, platform);
  }

  /** The same of one image, under names that it has there only: `app:v1`. */
  async saveAs(id: string, names: readonly string[]): Promise<AsyncIterable<Uint8Array>> {
    return saveImageAs(this.#services, id, names);
  }

  /** An index, whole, under names that it has there only; `id` is of an image in it. */
  async saveIndexAs(of: { id: string; index: string }, names: readonly string[]): Promise<AsyncIterable<Uint8Array>> {
    return saveIndexAs(this.#services, of, names);
  }

  /** Makes an image of programs of the host and what they need; the last message's status is its id. */
  fromHost(reference: string, programs: readonly string[]): AsyncGenerator<ProgressMessage> {
    return makeFromHost(this.#services, { reference, programs });
  }

  /** Removes dangling images, or with `dangling=false` all unused ones; `among` leaves others alone. */
  async prune(
    filters: Filters,
    options: { usedBy: ImageUsers; among?: (id: string) => boolean },
  ): Promise<{ deleted: DeletedItem[]; spaceReclaimed: number }> {
    return pruneImages(this.#services, filters, options);
  }

  /** Verifies blobs, layers, images and records, and counts them. */
  check(counts: ImageCheckCounts): AsyncGenerator<Finding> {
    return checkImages(this.#services, counts);
  }

  /** Whether work goes on that may be about to name layers. */
  get isBusy(): boolean {
    return this.#services.holds.any;
  }

  /** Makes `vitrine/base:latest` or `vitrine/bun:latest` when missing; false when the name is neither. */
  async ensureEmbedded(reference: string): Promise<boolean> {
    const name = embeddedName.exec(reference)?.[1];
    return name === undefined ? false : this.#embedded.ensure(name);
  }

  /**
   * Blobs that nothing names go, and layers that no image, layer, snapshot or hold needs: of removed images, and of a former
   * engine that was killed. Worth a call at start and after containers were removed.
   */
  async collect(): Promise<{ deleted: string[]; spaceReclaimed: number }> {
    return collectImages(this.#services);
  }
}
