import type { Layer } from "../snapshot/index.ts";
import type { ImageServices } from "./image-record.ts";
import { releaseLayers } from "./layer-release.ts";

/**
 * Removes every layer that no image, snapshot or hold needs, and every blob that no record names and no lease keeps.
 * While any work holds layers, layers stay altogether: what it makes next may stand on one that looks unneeded.
 */
export async function collectImages(services: ImageServices): Promise<{ deleted: string[]; spaceReclaimed: number }> {
  const layers = services.holds.any ? [] : services.snapshots.layers();
  const sizes = new Map(layers.map((layer) => [layer.chainId, layer.sizeBytes]));
  const deleted: string[] = [];
  // A chain at a time from its top: a layer with children is refused, and its chain is visited again from each child.
  for (const top of topsOf(layers)) {
    if (!services.snapshots.layer(top.chainId)) continue;
    const chain = services.snapshots.chain(top.chainId);
    const kept = chain.findIndex((layer) => !services.holds.isLeftover(layer));
    const leftovers = kept === -1 ? chain : chain.slice(0, kept);
    deleted.push(
      ...(await releaseLayers(
        services,
        leftovers.map((layer) => layer.chainId),
      )),
    );
  }
  const blobs = await collectBlobs(services);
  const layerBytes = deleted.reduce((sum, chainId) => sum + (sizes.get(chainId) ?? 0), 0);
  return { deleted: [...deleted, ...blobs.deleted], spaceReclaimed: layerBytes + blobs.spaceReclaimed };
}

/** Blobs that no record of an image names and no lease keeps. */
export async function collectBlobs({ content, table }: ImageServices): ReturnType<typeof content.collect> {
  table.dropBlobsOfMissingLayers();
  const named = table.contentDigests();
  return content.collect((digest) => named.has(digest));
}

function topsOf(layers: readonly Layer[]): Layer[] {
  const parents = new Set(layers.map((layer) => layer.parent));
  return layers.filter((layer) => !parents.has(layer.chainId));
}
