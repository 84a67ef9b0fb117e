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
import type { ImageRecord, ImageServices } from "./image-record.ts";
import { ProgressChannel } from "./progress-channel.ts";
import { repositoryClient, type PullOptions } from "./pull-image.ts";
import { chooseManifest, keptManifest } from "./push-manifest.ts";
import { pushLayer, type LayerToPush } from "./push-layer.ts";
import { Turns } from "./turns.ts";

/** Layers that are compressed and sent at once; more wait for their turn. */
const maxUploads = 5;

export type PushOptions = Omit<PullOptions, "platform">;

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
  const image = getImage(services.table, `${repositoryText}:${reference.tag}`);
  const channel = new ProgressChannel();
  const abort = new AbortController();
  const { signal } = abort;
  const repository = repositoryClient(reference, { ...options, signal, actions: "pull,push" });
  const work = push(
    {
      services,
      repository,
      reference,
      signal,
      giveUp: (error) => abort.abort(error),
      tell: (message) => channel.push(message),
    },
    image,
  );
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

async function push(parts: Omit<Push, "lease">, image: ImageRecord): Promise<void> {
  const { services, reference, tell } = parts;
  using lease = services.content.lease(`push ${reference.path}`);
  using hold = services.holds.hold("push");
  hold.add(image.chainId);
  lease.add(image.id);
  const context: Push = { ...parts, lease };
  const kept = keptManifest(services, image);
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
    layers: image.layers.map(({ diffId }) => required(byDiffId.get(diffId))),
  });
  await putManifest(context, { image, manifest, blobs: blobs.map(required) });
  const { digest, size } = manifest.descriptor;
  tell({ status: `${reference.tag}: digest: ${digest} size: ${size}` });
  tell({ progressDetail: {}, aux: { Tag: reference.tag, Digest: digest, Size: size } });
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
  pushed: { image: ImageRecord; manifest: Pick<ParsedManifest, "bytes" | "descriptor">; blobs: readonly Descriptor[] },
): Promise<void> {
  const { manifest, image, blobs } = pushed;
  const { mediaType, digest } = manifest.descriptor;
  await services.content.ingestBytes(manifest.bytes, { mediaType, lease });
  await repository.putManifest(reference.tag ?? "latest", manifest);
  if (!services.table.has(image.id)) return;
  const name = repositoryName(reference);
  services.table.atomically(() => {
    services.table.putManifest(image.id, manifest.descriptor);
    services.table.putDigest(image.id, { repository: name, digest });
    for (const blob of blobs) services.table.putBlobSource(blob.digest, name);
  });
}

/** Waits for all. The first failure ends the others, and is thrown once none is under way any more. */
async function allOf<T>(work: readonly (() => Promise<T>)[], giveUp: (error: unknown) => void): Promise<T[]> {
  const failures: unknown[] = [];
  const running = work.map((start) => start());
  for (const each of running) {
    each.catch((error: unknown) => {
      if (failures.push(error) === 1) giveUp(error);
    });
  }
  await Promise.allSettled(running);
  if (failures.length > 0) throw failures[0];
  return Promise.all(running);
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

function required(blob: Descriptor | undefined): Descriptor {
  if (!blob) throw new EngineError("internal", "A layer that was pushed has no blob");
  return blob;
}
