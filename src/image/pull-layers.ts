import { EngineError } from "../common/index.ts";
import type { Descriptor } from "../spec/index.ts";
import { layerFromBlob } from "./layer-blob.ts";
import { withFigures } from "./progress-channel.ts";
import { layerName, type Pull } from "./pull-image.ts";
import { Turns } from "./turns.ts";

/** Downloads at once; more layers wait for their turn. */
const maxDownloads = 6;

interface LayersOfImage {
  readonly layers: readonly Descriptor[];
  readonly diffIds: readonly string[];
  readonly chainIds: readonly string[];
}

/**
 * Downloads what is not here, and unpacks each layer once those below it are there. Answers the blob to keep of each. At the first
 * failure the others are given up, and none is under way any more when it throws.
 */
export async function fetchLayers(pull: Pull, image: LayersOfImage): Promise<(Descriptor | undefined)[]> {
  const giveUp = new AbortController();
  const signal = AbortSignal.any([pull.signal, giveUp.signal]);
  const turns = new Turns(maxDownloads);
  const downloads = new Map<string, Promise<void>>();
  const needed = image.layers.map((layer, index) => {
    const isHere = pull.services.snapshots.layer(image.chainIds[index] ?? "") !== undefined;
    pull.tell({ status: isHere ? "Already exists" : "Pulling fs layer", progressDetail: {}, id: layerName(layer) });
    return !isHere;
  });
  image.layers.forEach((layer, index) => {
    if (!needed[index] || downloads.has(layer.digest)) return;
    if (turns.areTaken) pull.tell({ status: "Waiting", progressDetail: {}, id: layerName(layer) });
    const work = turns.take(() => download({ ...pull, signal }, layer));
    // Whoever waits for it is told; the first failure ends the others meanwhile.
    work.catch((error: unknown) => giveUp.abort(error));
    downloads.set(layer.digest, work);
  });
  try {
    const blobs: (Descriptor | undefined)[] = [];
    for (const [index, layer] of image.layers.entries()) {
      if (!needed[index]) {
        blobs.push(undefined);
        continue;
      }
      await downloads.get(layer.digest);
      blobs.push(await unpack({ ...pull, signal }, { image, index, layer }));
    }
    return blobs;
  } catch (error) {
    giveUp.abort(error);
    throw pull.signal.aborted ? pull.signal.reason : error;
  } finally {
    await Promise.allSettled(downloads.values());
  }
}

async function download({ services, repository, lease, tell, signal }: Pull, layer: Descriptor): Promise<void> {
  signal.throwIfAborted();
  const id = layerName(layer);
  lease.add(layer.digest);
  if (!services.content.has(layer.digest)) {
    const figures = withFigures(repository.blob(layer, signal), {
      total: layer.size,
      tell: (progressDetail) => tell({ status: "Downloading", progressDetail, id }),
    });
    await services.content.ingest(figures, { mediaType: layer.mediaType, expected: layer, lease });
    tell({ status: "Verifying Checksum", progressDetail: {}, id });
  }
  tell({ status: "Download complete", progressDetail: {}, id });
}

async function unpack(
  { services, tell, signal }: Pull,
  { image, index, layer }: { image: LayersOfImage; index: number; layer: Descriptor },
): Promise<Descriptor | undefined> {
  signal.throwIfAborted();
  const diffId = image.diffIds[index] ?? "";
  const id = layerName(layer);
  tell({ status: "Extracting", progressDetail: { current: 0, total: layer.size }, id });
  const made = await layerFromBlob(services, { diffId, parent: image.chainIds[index - 1], blob: layer });
  if (made.layer.diffId !== diffId) {
    throw new EngineError(
      "invalidArgument",
      `The layer "${layer.digest}" holds "${made.layer.diffId}", not "${diffId}" as the image config says`,
    );
  }
  tell({ status: "Pull complete", progressDetail: {}, id });
  // Kept also where the layer could be packed again: a push sends the manifest as it came, and so the blobs that it names.
  return services.content.has(layer.digest) ? layer : made.blob;
}
