import { gzipLayer } from "../archive/index.ts";
import { shortId } from "../common/index.ts";
import { isForeignLayer } from "../registry/index.ts";
import type { Layer } from "../snapshot/index.ts";
import { mediaTypes, parseReference, type Descriptor } from "../spec/index.ts";
import { layerTar } from "./layer-blob.ts";
import { withFigures } from "./progress-channel.ts";
import type { Push } from "./push-image.ts";

/** A mount that the registry refuses costs a request: so many repositories are tried. */
const maxMountAttempts = 3;

/** Layers that are compressed and sent at once; more wait for their turn. */
export const maxUploads = 5;

export interface LayerToPush {
  readonly layer: Layer;
  /** What carries it by the manifest that will be sent; absent: what is here, or is made now. */
  readonly blob: Descriptor | undefined;
}

/** Sees to it that the registry has the layer. Answers its blob. */
export async function pushLayer(push: Push, { layer, blob: named }: LayerToPush): Promise<Descriptor> {
  const { signal } = push;
  const id = shortId(layer.diffId);
  signal.throwIfAborted();
  const blob = named ?? (await blobOf(push, layer));
  await sendBlob(push, { blob, id });
  return blob;
}

/** Uploads a blob that is here, unless the registry has it or takes it from another repository of its own. */
export async function sendBlob(push: Push, { blob, id }: { blob: Descriptor; id: string }): Promise<void> {
  const { services, repository, tell, signal } = push;
  signal.throwIfAborted();
  if (isForeignLayer(blob)) {
    tell({ status: "Skipped foreign layer", progressDetail: {}, id });
    return;
  }
  if (await repository.hasBlob(blob.digest)) {
    tell({ status: "Layer already exists", progressDetail: {}, id });
    return;
  }
  const from = await mount(push, blob);
  if (from !== undefined) {
    tell({ status: `Mounted from ${from}`, progressDetail: {}, id });
    return;
  }
  await repository.uploadBlob(blob, () =>
    withFigures(abortable(services.content.open(blob.digest), signal), {
      total: blob.size,
      tell: (progressDetail) => tell({ status: "Pushing", progressDetail, id }),
    }),
  );
  tell({ status: "Pushed", progressDetail: {}, id });
}

/** As the layer came; or compressed now, and kept, so that the next push sends the same bytes. */
export async function blobOf(
  { services, lease, signal }: Pick<Push, "services" | "lease" | "signal">,
  layer: Layer,
): Promise<Descriptor> {
  const { table, content } = services;
  const known = table.blobOf(layer.diffId);
  // A plain one is kept for its bytes' sake; nobody wants to upload it.
  if (known && known.digest !== layer.diffId && content.has(known.digest)) return known;
  const mediaType = mediaTypes.dockerLayerGzip;
  const isKept = known !== undefined && content.has(known.digest);
  const { diffId } = layer;
  const packed = isKept ? gzipLayer(content.file(diffId), { digest: diffId }) : gzipLayer(layerTar(services, layer));
  const blob = await content.ingest(abortable(packed, signal), { mediaType, lease });
  if (services.snapshots.layer(layer.chainId)) table.putLayerBlob(layer.diffId, blob);
  return blob;
}

/** Tries the registry's other repositories that are known to have the blob; the name of the one that it was taken from. */
async function mount({ services, repository, reference, signal }: Push, blob: Descriptor): Promise<string | undefined> {
  const others = services.table
    .blobSources(blob.digest)
    .map(parseReference)
    .filter(({ domain, path }) => domain === reference.domain && path !== reference.path);
  for (const { path } of others.slice(0, maxMountAttempts)) {
    signal.throwIfAborted();
    if (await repository.mountBlob(blob.digest, path)) return path;
  }
  return undefined;
}

async function* abortable(source: AsyncIterable<Uint8Array>, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  for await (const chunk of source) {
    signal.throwIfAborted();
    yield chunk;
  }
}
