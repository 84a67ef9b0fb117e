import { EngineError, shortId } from "../common/index.ts";
import type { Lease } from "../content/index.ts";
import type { ParsedManifest, RepositoryClient } from "../registry/index.ts";
import {
  familiarName,
  mediaTypes,
  parseReference,
  repositoryName,
  withDefaultTag,
  type Descriptor,
  type ProgressMessage,
  type Reference,
} from "../spec/index.ts";
import { maxConfigBytes } from "./image-config.ts";
import { getImage } from "./image-lookup.ts";
import { getImageFor, indexMeant } from "./image-platform.ts";
import type { Attestation } from "./attestation-table.ts";
import type { ImageRecord, ImageServices } from "./image-record.ts";
import { indexParts } from "./index-parts.ts";
import { ProgressChannel } from "./progress-channel.ts";
import { repositoryClient, type PullOptions } from "./pull-image.ts";
import { pushAttestations } from "./push-attestations.ts";
import { allOf, pushIndex, tellEnd } from "./push-index.ts";
import { chooseManifest, keptManifest } from "./push-manifest.ts";
import { maxUploads, pushLayer, type LayerToPush } from "./push-layer.ts";
import { Turns } from "./turns.ts";

/** With a platform: that one's manifest alone, of a name that stands for several. */
export type PushOptions = PullOptions;

/** What one push is made of. */
export interface Push {
  readonly services: ImageServices;
  readonly repository: RepositoryClient;
  readonly reference: Reference;
  readonly lease: Lease;
  readonly tell: (message: ProgressMessage) => void;
  readonly signal: AbortSignal;
  /** Ends all that is under way. */
  readonly giveUp: (error: unknown) => void;
}

/**
 * Uploads what the registry does not have: layers all at once, then the config, then the manifest, so that no tag there ever names
 * what is not. An image that came by a manifest goes with the same bytes. A client that leaves ends it.
 */
export async function* pushImage(
  services: ImageServices,
  name: string,
  options: PushOptions,
): AsyncGenerator<ProgressMessage> {
  const reference = withDefaultTag(parseReference(name));
  if (reference.digest !== undefined || reference.tag === undefined) {
    throw new EngineError("invalidArgument", "cannot push a digest reference");
  }
  const repositoryText = repositoryName(reference);
  if (services.table.imageOfTag(repositoryText, reference.tag) === undefined) {
    throw new EngineError("notFound", `An image does not exist locally with the tag: ${familiarName(reference)}`);
  }
  const text = `${repositoryText}:${reference.tag}`;
  const image = options.platform ? getImageFor(services.table, text, options.platform) : getImage(services.table, text);
  const meant = options.platform ? undefined : indexMeant(services.table, text);
  // What is attested here goes with the image again, in the same bytes; its own index is made anew of them.
  const isAttested = services.table.attestations.of(image.id).length > 0;
  const isOfOne = meant === undefined || services.table.indexes.members(meant).length < 2;
  const index = isAttested && isOfOne ? undefined : meant;
  const channel = new ProgressChannel();
  const abort = new AbortController();
  const { signal } = abort;
  const repository = repositoryClient(reference, { ...options, signal, actions: "pull,push" });
  const parts = {
    services,
    repository,
    reference,
    signal,
    giveUp: (error: unknown) => abort.abort(error),
    tell: (message: ProgressMessage) => channel.push(message),
  };
  const work = index === undefined ? push(parts, image) : pushOfIndex(parts, { image, index });
  work.then(
    () => channel.end(),
    (error: unknown) => channel.fail(error),
  );
  const leave = (): void => channel.fail(new EngineError("cancelled", "The client has left"));
  options.left?.addEventListener("abort", leave, { once: true });
  if (options.left?.aborted) leave();
  try {
    yield { status: `The push refers to repository [${repositoryText}]` };
    yield* channel;
  } finally {
    options.left?.removeEventListener("abort", leave);
    abort.abort(new EngineError("cancelled", "The client that pushed has left"));
    await work.catch(() => {});
  }
}

/** The index as it came when all that it names is here; else the one image that its name means, and a note of that. */
async function pushOfIndex(
  parts: Omit<Push, "lease">,
  { image, index }: { image: ImageRecord; index: string },
): Promise<void> {
  const found = indexParts(parts.services, index);
  if (found.isWhole) {
    using lease = parts.services.content.lease(`push ${parts.reference.path}`);
    await pushIndex({ ...parts, lease }, { image, parts: found.parts });
    return;
  }
  const selectedManifest = await push(parts, image);
  const originalIndex = parts.services.table.indexes.descriptor(index);
  parts.tell({ progressDetail: {}, aux: { manifestPushedInsteadOfIndex: true, originalIndex, selectedManifest } });
}

/** Answers what the registry's tag names now. */
async function push(parts: Omit<Push, "lease">, image: ImageRecord): Promise<Descriptor> {
  const { services, reference, tell } = parts;
  using lease = services.content.lease(`push ${reference.path}`);
  using hold = services.holds.hold("push");
  hold.add(image.chainId);
  lease.add(image.id);
  const context: Push = { ...parts, lease };
  const kept = keptManifest(services, image);
  const attestations = services.table.attestations.of(image.id);
  if (kept) lease.add(kept.descriptor.digest);
  const layers = layersToPush(context, { image, blobs: kept?.layers ?? [] });
  for (const { layer } of layers.toReversed()) {
    tell({ status: "Preparing", progressDetail: {}, id: shortId(layer.diffId) });
  }
  const turns = new Turns(maxUploads);
  const blobs = await allOf(
    layers.map((layer) => () => {
      if (turns.areTaken) tell({ status: "Waiting", progressDetail: {}, id: shortId(layer.layer.diffId) });
      return turns.take(() => pushLayer(context, layer));
    }),
    parts.giveUp,
  );
  const byDiffId = new Map(layers.map(({ layer }, index) => [layer.diffId, blobs[index]] as const));
  const config = services.content.readBytes(image.id, maxConfigBytes);
  await pushConfig(context, { digest: image.id, bytes: config });
  const manifest = chooseManifest(kept, {
    image,
    configSize: config.length,
    asOci: attestations.length > 0,
    layers: image.layers.map(({ diffId }) => required(byDiffId.get(diffId))),
  });
  const pushed = { image, manifest, blobs: blobs.map(required) };
  if (attestations.length === 0) {
    await putManifest(context, pushed);
    tellEnd(context, manifest.descriptor);
    return manifest.descriptor;
  }
  return await putAttested(context, { ...pushed, attestations });
}

/** The manifest by its digest, what is attested of it, and under the tag the index of both, which stands for the name here too. */
async function putAttested(push: Push, pushed: Pushed & { attestations: readonly Attestation[] }): Promise<Descriptor> {
  const { services, repository, reference } = push;
  const { image, manifest, attestations } = pushed;
  await putManifest(push, pushed, manifest.descriptor.digest);
  const index = await pushAttestations(push, { image, manifest: manifest.descriptor, attestations });
  const { tag = "latest" } = reference;
  await repository.putManifest(tag, index);
  const { table } = services;
  if (table.has(image.id)) {
    const name = repositoryName(reference);
    const { os, architecture, variant } = image.config;
    const platform = { os, architecture, ...(variant ? { variant } : {}) };
    table.atomically(() => {
      table.indexes.add(index.descriptor, { imageId: image.id, manifest: manifest.descriptor, platform });
      table.putDigest(image.id, { repository: name, digest: index.descriptor.digest });
      if (table.imageOfTag(name, tag) === image.id)
        table.indexes.nameTag({ repository: name, tag }, index.descriptor.digest);
    });
  }
  tellEnd(push, index.descriptor);
  return index.descriptor;
}

interface Pushed {
  readonly image: ImageRecord;
  readonly manifest: Pick<ParsedManifest, "bytes" | "descriptor">;
  readonly blobs: readonly Descriptor[];
}

/** Each different layer once, lowest first, with the blob that the kept manifest names for it. */
function layersToPush(
  { services, lease }: Push,
  { image, blobs }: { image: ImageRecord; blobs: readonly Descriptor[] },
): LayerToPush[] {
  const seen = new Map<string, LayerToPush>();
  for (const [index, layer] of image.layers.entries()) {
    const blob = blobs[index] ?? services.table.blobOf(layer.diffId);
    if (blob) lease.add(blob.digest);
    if (!seen.has(layer.diffId)) seen.set(layer.diffId, { layer, blob: blobs[index] });
  }
  return [...seen.values()];
}

async function pushConfig(
  { repository, signal }: Push,
  { digest, bytes }: { digest: string; bytes: Uint8Array },
): Promise<void> {
  signal.throwIfAborted();
  if (await repository.hasBlob(digest)) return;
  const descriptor: Descriptor = { mediaType: mediaTypes.dockerConfig, digest, size: bytes.length };
  await repository.uploadBlob(descriptor, () => once(bytes));
}

async function putManifest(
  { services, repository, reference, lease }: Push,
  { manifest, image, blobs }: Pushed,
  under = reference.tag ?? "latest",
): Promise<void> {
  const { mediaType, digest } = manifest.descriptor;
  await services.content.ingestBytes(manifest.bytes, { mediaType, lease });
  await repository.putManifest(under, manifest);
  if (!services.table.has(image.id)) return;
  const name = repositoryName(reference);
  services.table.atomically(() => {
    services.table.putManifest(image.id, manifest.descriptor);
    // By its digest alone it is a part of what the tag will name.
    if (under !== digest) services.table.putDigest(image.id, { repository: name, digest });
    for (const blob of blobs) services.table.putBlobSource(blob.digest, name);
  });
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

function required(blob: Descriptor | undefined): Descriptor {
  if (!blob) throw new EngineError("internal", "A layer that was pushed has no blob");
  return blob;
}
