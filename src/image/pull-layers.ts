import { LayerArchive } from "../archive/index.ts";
import { EngineError, toEngineError } from "../common/index.ts";
import type { Layer } from "../snapshot/index.ts";
import type { Descriptor } from "../spec/index.ts";
import { layerName, type Pull } from "./pull-image.ts";
import { figureTeller } from "./progress-channel.ts";
import { Turns } from "./turns.ts";

/** Downloads at once; more layers wait for their turn. */
const maxDownloads = 6;

interface LayersOfImage {
  readonly layers: readonly Descriptor[];
  readonly diffIds: readonly string[];
  readonly chainIds: readonly string[];
}

interface LayerStep {
  readonly blob: Descriptor;
  readonly diffId: string;
  readonly chainId: string;
  readonly below: Promise<string | undefined>;
  /** Told when the next one may be put on it. */
  readonly onPlaced: () => void;
  /** Gets the length of the plain archive, by diffID. */
  readonly sizes: Map<string, number>;
}

/**
 * Downloads and unpacks what is not here, all layers at once, each while it comes. Answers the blob to keep of each. At the first failure
 * the others are given up, and none is under way any more when it throws.
 */
export async function fetchLayers(pull: Pull, image: LayersOfImage): Promise<(Descriptor | undefined)[]> {
  const giveUp = new AbortController();
  const signal = AbortSignal.any([pull.signal, giveUp.signal]);
  const turns = new Turns(maxDownloads);
  const needed = image.layers.map((layer, index) => {
    const isHere = pull.services.snapshots.layer(image.chainIds[index] ?? "") !== undefined;
    pull.tell({ status: isHere ? "Already exists" : "Pulling fs layer", progressDetail: {}, id: layerName(layer) });
    return !isHere;
  });
  const work: Promise<Layer>[] = [];
  const sizes = new Map<string, number>();
  let below: Promise<string | undefined> = Promise.resolve(undefined);
  for (const [index, blob] of image.layers.entries()) {
    const chainId = image.chainIds[index] ?? "";
    if (!needed[index]) {
      below = Promise.resolve(chainId);
      continue;
    }
    const placed = Promise.withResolvers<string>();
    placed.promise.catch(() => {});
    const onPlaced = (): void => placed.resolve(chainId);
    const made = fetchLayer(
      { ...pull, signal },
      { blob, diffId: image.diffIds[index] ?? "", chainId, below, onPlaced, sizes },
      turns,
    );
    // Whoever waits for it is told; the first failure ends the others meanwhile.
    made.then(onPlaced, (error: unknown) => {
      giveUp.abort(error);
      placed.reject(error);
    });
    work.push(made);
    below = placed.promise;
  }
  await Promise.allSettled(work);
  pull.signal.throwIfAborted();
  if (giveUp.signal.aborted) throw toEngineError(giveUp.signal.reason);
  const { table } = pull.services;
  table.atomically(() => sizes.forEach((sizeBytes, diffId) => table.putTarSize(diffId, sizeBytes)));
  // Kept also where the layer could be packed again: a push sends the manifest as it came, and so the blobs that it names.
  return image.layers.map((layer, index) => (needed[index] ? layer : undefined));
}

/** What one that came first failed with, or gave up, is tried again by those who joined it. */
async function fetchLayer(pull: Pull, step: LayerStep, turns: Turns): Promise<Layer> {
  for (let attempt = 1; ; attempt++) {
    const seen = { joined: false };
    try {
      return await fetchOnce(pull, { step, turns, seen });
    } catch (error) {
      pull.signal.throwIfAborted();
      if (attempt > 1 || !(error instanceof EngineError)) throw error;
      if (!seen.joined && error.code !== "cancelled" && error.data["resumed"] !== true) throw error;
    }
  }
}

async function fetchOnce(
  pull: Pull,
  { step, turns, seen }: { step: LayerStep; turns: Turns; seen: { joined: boolean } },
): Promise<Layer> {
  const { services, repository, lease, tell, signal } = pull;
  const { blob, diffId, chainId, below, onPlaced } = step;
  const id = layerName(blob);
  if (turns.areTaken) tell({ status: "Waiting", progressDetail: {}, id });
  const stop = new AbortController();
  const both = AbortSignal.any([signal, stop.signal]);
  const unpack = async (archive: LayerArchive): Promise<Layer> => {
    const layer = await services.snapshots.apply(below, archive, { diffId, chainId, onPlaced });
    if (archive.plainBytes !== undefined) step.sizes.set(diffId, archive.plainBytes);
    return layer;
  };
  const applied = Promise.withResolvers<Layer>();
  applied.promise.catch(() => {});
  const downloaded = turns.take(async () => {
    both.throwIfAborted();
    const received = await services.content.receive({
      mediaType: blob.mediaType,
      expected: blob,
      lease,
      signal: both,
      source: (fromBytes, receiving) => repository.blob(blob, { signal: receiving, fromBytes }),
    });
    seen.joined = received.joined;
    const archive = new LayerArchive(received.file, { signal: both });
    applied.resolve(unpack(archive));
    const tellFigures = figureTeller(blob.size, (progressDetail) =>
      tell({ status: "Downloading", progressDetail, id }),
    );
    const stopFigures = received.file.watch(() => tellFigures(received.file.writtenBytes));
    await received.done.finally(stopFigures);
    tell({ status: "Verifying Checksum", progressDetail: {}, id });
    tell({ status: "Download complete", progressDetail: {}, id });
    tell({ status: "Extracting", progressDetail: { current: 0, total: blob.size }, id });
  });
  downloaded.catch((error: unknown) => applied.reject(error));
  applied.promise.catch((error: unknown) => {
    // What makes no archive may be no blob either, and only all of its bytes can tell: a damaged beginning would else stay for ever.
    const mayBeWrong = error instanceof EngineError && error.code === "invalidArgument";
    if (!mayBeWrong) stop.abort(error);
  });
  const [got, made] = await Promise.allSettled([downloaded, applied.promise]);
  // A wrong blob is told of before what came of unpacking it.
  if (got.status === "rejected" && !stop.signal.aborted) throw got.reason;
  if (made.status === "rejected") throw made.reason;
  if (got.status === "rejected") throw got.reason;
  requireDiffId(made.value, { blob, diffId });
  tell({ status: "Pull complete", progressDetail: {}, id });
  return made.value;
}

function requireDiffId(layer: Layer, { blob, diffId }: Pick<LayerStep, "blob" | "diffId">): void {
  if (layer.diffId === diffId) return;
  throw new EngineError(
    "invalidArgument",
    `The layer "${blob.digest}" holds "${layer.diffId}", not "${diffId}" as the image config says`,
  );
}
