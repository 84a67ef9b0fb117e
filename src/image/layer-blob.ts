import { createHash } from "node:crypto";
import { decompress, detectCompression, LayerArchive } from "../archive/index.ts";
import { EngineError } from "../common/index.ts";
import type { Layer, ParentLayer } from "../snapshot/index.ts";
import { mediaTypes, type Descriptor } from "../spec/index.ts";
import type { EarlyLayers } from "./early-layers.ts";
import type { ImageServices } from "./image-record.ts";

export interface LayerSource {
  /** What the image config says of it. */
  readonly diffId: string;
  readonly chainId: string;
  /** chainID of the layer below, perhaps on its way. */
  readonly parent: ParentLayer;
  /** Content that carries it, perhaps compressed. */
  readonly blob: Descriptor;
  /** What was begun before. */
  readonly early: EarlyLayers;
  /** Told when the next layer may be put on it. */
  readonly onPlaced: () => void;
}

/**
 * Makes a layer of a blob, unless it exists. The answer's blob is the one to keep with the image: a compressed one always, so
 * that a push need not compress again; a plain tar only when the engine's own packing would not give its bytes again.
 */
export async function layerFromBlob(
  services: ImageServices,
  { diffId, chainId, parent, blob: carrier, early, onPlaced }: LayerSource,
): Promise<{ layer: Layer; blob: Descriptor | undefined }> {
  const { content, snapshots, table } = services;
  const isPlain = carrier.digest === diffId;
  const blob = await withMediaType(services, carrier);
  const known = snapshots.layer(chainId);
  if (known) {
    if (!isPlain) await verifyDiffId(decompress(content.open(blob.digest)), { diffId, digest: blob.digest });
    // Named by an image, it is known to be saveable as it is.
    const settled = isPlain && (table.chainIds().has(known.chainId) || table.blobOf(diffId) !== undefined);
    if (settled) return { layer: known, blob: undefined };
    return isPlain ? withNeededBlob(services, { layer: known, blob }) : { layer: known, blob };
  }
  const begun = early.take(blob.digest, parent);
  void begun?.placed.then(onPlaced);
  const archive = begun?.archive ?? new LayerArchive(content.file(blob.digest));
  const layer = await (begun?.layer ?? snapshots.apply(parent, archive, { diffId, chainId, onPlaced }));
  if (!isPlain && archive.plainBytes !== undefined) table.putTarSize(layer.diffId, archive.plainBytes);
  return isPlain ? withNeededBlob(services, { layer, blob }) : { layer, blob };
}

/** The plain blob is needed only when packing the layer again gives other bytes, as the first ones mostly say. */
async function withNeededBlob(
  { content, snapshots, table }: ImageServices,
  { layer, blob }: { layer: Layer; blob: Descriptor },
): Promise<{ layer: Layer; blob: Descriptor | undefined }> {
  if (!(await areSame(snapshots.packLayer(layer.chainId), content.open(blob.digest)))) return { layer, blob };
  table.putTarSize(layer.diffId, blob.size);
  return { layer, blob: undefined };
}

/** Reads two streams up to the first difference. */
async function areSame(left: AsyncIterable<Uint8Array>, right: AsyncIterable<Uint8Array>): Promise<boolean> {
  const others = right[Symbol.asyncIterator]();
  let rest: Uint8Array = new Uint8Array();
  try {
    for await (const chunk of left) {
      for (let at = 0; at < chunk.length;) {
        if (rest.length === 0) {
          const next = await others.next();
          if (next.done === true) return false;
          rest = next.value;
        }
        const length = Math.min(rest.length, chunk.length - at);
        if (Buffer.compare(rest.subarray(0, length), chunk.subarray(at, at + length)) !== 0) return false;
        rest = rest.subarray(length);
        at += length;
      }
    }
    return rest.length === 0 && (await others.next()).done === true;
  } finally {
    await others.return?.();
  }
}

/** A docker-archive does not say what its layers are; their first bytes do. */
async function withMediaType({ content }: ImageServices, blob: Descriptor): Promise<Descriptor> {
  if (blob.mediaType !== "application/octet-stream") return blob;
  const compressed = { gzip: mediaTypes.ociLayerGzip, zstd: mediaTypes.ociLayerZstd } as Record<string, string>;
  for await (const chunk of content.open(blob.digest)) {
    return { ...blob, mediaType: compressed[detectCompression(chunk)] ?? mediaTypes.ociLayer };
  }
  return { ...blob, mediaType: mediaTypes.ociLayer };
}

/** The layer as the uncompressed tar that its diffID is of. Verified as it flows; throws at its end when it is another. */
export async function* layerTar(services: ImageServices, layer: Layer): AsyncGenerator<Uint8Array> {
  const hash = createHash("sha256");
  for await (const chunk of rawLayerTar(services, layer)) {
    hash.update(chunk);
    yield chunk;
  }
  const digest = `sha256:${hash.digest("hex")}`;
  if (digest !== layer.diffId) throw changedLayer(layer, digest);
}

/** The length of `layerTar`, by one pass the first time. */
export async function layerTarSize(services: ImageServices, layer: Layer): Promise<number> {
  const { table, content } = services;
  const known = table.tarSize(layer.diffId);
  if (known !== undefined) return known;
  const blob = table.blobOf(layer.diffId);
  if (blob && blob.digest === layer.diffId && content.has(blob.digest)) return content.sizeOf(blob.digest);
  const { digest, sizeBytes } = await measure(rawLayerTar(services, layer));
  if (digest !== layer.diffId) throw changedLayer(layer, digest);
  table.putTarSize(layer.diffId, sizeBytes);
  return sizeBytes;
}

function rawLayerTar({ content, snapshots, table }: ImageServices, layer: Layer): AsyncIterable<Uint8Array> {
  const blob = table.blobOf(layer.diffId);
  if (blob && content.has(blob.digest)) return decompress(content.open(blob.digest));
  return snapshots.packLayer(layer.chainId);
}

async function verifyDiffId(
  tar: AsyncIterable<Uint8Array>,
  { diffId, digest }: { diffId: string; digest: string },
): Promise<void> {
  const found = await measure(tar);
  if (found.digest === diffId) return;
  throw new EngineError(
    "invalidArgument",
    `The layer blob "${digest}" holds "${found.digest}", not "${diffId}" as the image config says`,
  );
}

async function measure(stream: AsyncIterable<Uint8Array>): Promise<{ digest: string; sizeBytes: number }> {
  const hash = createHash("sha256");
  let sizeBytes = 0;
  for await (const chunk of stream) {
    hash.update(chunk);
    sizeBytes += chunk.length;
  }
  return { digest: `sha256:${hash.digest("hex")}`, sizeBytes };
}

function changedLayer(layer: Layer, digest: string): EngineError {
  return new EngineError(
    "internal",
    `The files of layer "${layer.diffId}" in "${layer.directoryId}" have changed: they are "${digest}" now`,
  );
}
