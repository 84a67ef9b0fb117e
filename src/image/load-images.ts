import { decompress } from "../archive/index.ts";
import { EngineError, shortId } from "../common/index.ts";
import {
  familiarString,
  parseReference,
  repositoryName,
  type Descriptor,
  type Platform,
  type ProgressMessage,
} from "../spec/index.ts";
import { platformText } from "../registry/index.ts";
import { ArchiveMembers, invalid } from "./archive-members.ts";
import { chainIdsOf } from "./chain-ids.ts";
import { collectBlobs } from "./collect-images.ts";
import { createImage, nameImage, parseTag } from "./create-image.ts";
import { readDockerArchive, type ArchivedImage } from "./docker-archive.ts";
import { parseImageConfig } from "./image-config.ts";
import { fitsPlatform, platformOf } from "./image-platform.ts";
import type { ImageRecord, ImageServices } from "./image-record.ts";
import { EarlyLayers } from "./early-layers.ts";
import { layerFromBlob } from "./layer-blob.ts";
import { releaseLayers } from "./layer-release.ts";
import { holdsIndex, readOciLayout } from "./oci-layout.ts";

/** See `ImageStore.load`. A wrong archive leaves nothing behind but the images that were whole before the error. */
export async function* loadImages(
  services: ImageServices,
  archive: AsyncIterable<Uint8Array>,
  { quiet, platform }: { quiet: boolean; platform?: Platform | undefined },
): AsyncGenerator<ProgressMessage> {
  try {
    using lease = services.content.lease("load");
    await using early = new EarlyLayers(services);
    const members = await ArchiveMembers.read(services, decompress(archive), { lease, early });
    for (const image of findImages(members, platform)) {
      for await (const message of loadImage(services, image, early)) {
        if (!quiet || message.stream !== undefined) yield message;
      }
    }
  } finally {
    await collectBlobs(services);
  }
}

function findImages(members: ArchiveMembers, platform: Platform | undefined): ArchivedImage[] {
  if (members.has("manifest.json") && !holdsIndex(members)) return forPlatform(readDockerArchive(members), platform);
  if (members.has("oci-layout")) return forPlatform(readOciLayout(members, platform), platform);
  if (members.has("repositories")) {
    throw new EngineError("unsupported", "The image archive has no manifest.json: it is of a Docker before 1.10");
  }
  throw invalid("it has neither manifest.json nor oci-layout");
}

function forPlatform(images: ArchivedImage[], platform: Platform | undefined): ArchivedImage[] {
  if (!platform) return images;
  for (const { configBytes } of images) {
    const own = platformOf({ config: parseImageConfig(configBytes) });
    if (fitsPlatform(own, platform)) continue;
    const words = `wanted ${platformText(platform)}, actual: ${platformText(own)}`;
    throw new EngineError("notFound", `An image in the archive does not match the specified platform: ${words}`);
  }
  return images;
}

async function* loadImage(
  services: ImageServices,
  archived: ArchivedImage,
  early: EarlyLayers,
): AsyncGenerator<ProgressMessage> {
  const config = parseImageConfig(archived.configBytes);
  if (config.os !== "linux") {
    throw new EngineError("unsupported", `cannot load ${config.os} image on linux`);
  }
  const diffIds = config.rootfs.diff_ids;
  if (diffIds.length !== archived.layers.length) {
    throw invalid(
      `invalid manifest, layers length mismatch: expected ${diffIds.length}, got ${archived.layers.length}`,
    );
  }
  const chainIds = chainIdsOf(diffIds);
  const kept: (Descriptor | undefined)[] = [];
  const hold = services.holds.hold("load");
  let image: ImageRecord | undefined;
  const layers: Promise<LoadedLayer>[] = [];
  let parent: Promise<string | undefined> | undefined;
  try {
    for (const [index, diffId] of diffIds.entries()) {
      hold.add(chainIds[index]);
      const placed = Promise.withResolvers<string | undefined>();
      placed.promise.catch(() => {});
      const chainId = chainIds[index] ?? "";
      const onPlaced = (): void => placed.resolve(chainId);
      const blob = archived.layers[index];
      const loaded = loadLayer(services, { early, index, chainId, parent, onPlaced, diffId, blob });
      loaded.then(onPlaced, (error: unknown) => placed.reject(error));
      parent = placed.promise;
      layers.push(loaded);
    }
    for (const [index, diffId] of diffIds.entries()) {
      const blob = archived.layers[index];
      yield progress(diffId, blob, 0);
      const needed = (await layers[index])?.blob;
      // A manifest of an index goes on as it is, and so do the blobs that it names.
      kept.push(archived.indexed ? blob : needed);
      yield progress(diffId, blob, blob?.size ?? 0);
    }
    image = await createImage(services, archived.configBytes, {
      layers: chainIds,
      blobs: kept,
      indexed: archived.indexed,
    });
  } finally {
    await Promise.allSettled(layers);
    hold[Symbol.dispose]();
    // Not in a catch: a client that goes away ends the generator without an error.
    if (!image) await releaseLayers(services, chainIds.toReversed());
  }
  yield* nameLoaded(services, image, archived);
}

interface LayerOfImage {
  readonly early: EarlyLayers;
  readonly index: number;
  readonly chainId: string;
  readonly parent: Promise<string | undefined> | undefined;
  readonly onPlaced: () => void;
  readonly diffId: string;
  readonly blob: Descriptor | undefined;
}

/** The blob to keep with the image. */
interface LoadedLayer {
  readonly blob: Descriptor | undefined;
}

async function loadLayer(services: ImageServices, step: LayerOfImage): Promise<LoadedLayer> {
  const { early, index, chainId, parent, onPlaced, diffId, blob } = step;
  if (!blob) {
    await parent;
    if (services.snapshots.layer(chainId)) return { blob: undefined };
    throw invalid(`layer ${index + 1}, "${diffId}", is missing in it and does not exist here`);
  }
  const { layer, blob: kept } = await layerFromBlob(services, { early, diffId, chainId, parent, blob, onPlaced });
  if (layer.diffId !== diffId) {
    await releaseLayers(services, [layer.chainId]);
    throw invalid(`invalid diffID for layer ${index}: expected "${diffId}", got "${layer.diffId}"`);
  }
  return { blob: kept };
}

function progress(diffId: string, blob: Descriptor | undefined, current: number): ProgressMessage {
  return {
    id: shortId(diffId),
    status: "Loading layer",
    ...(blob ? { progressDetail: { current, total: blob.size } } : {}),
  };
}

async function* nameLoaded(
  { table }: ImageServices,
  image: ImageRecord,
  { references, indexed }: ArchivedImage,
): AsyncGenerator<ProgressMessage> {
  for (const text of references) {
    const name = familiarString(parseReference(text));
    const target = parseTag(text);
    const before = table.imageOfTag(repositoryName(parseReference(text)), target.tag);
    if (before !== undefined && before !== image.id) {
      const message = `The image ${name} already exists, renaming the old one with ID ${before} to empty string\n`;
      yield { stream: message };
    }
    table.atomically(() => nameImage(table, { id: image.id, target, index: indexed?.indexes[0]?.digest }));
    yield { stream: `Loaded image: ${name}\n` };
  }
  if (references.length === 0 && !table.indexes.keeps(image.id)) yield { stream: `Loaded image ID: ${image.id}\n` };
}
