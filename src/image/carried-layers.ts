import { EngineError } from "../common/index.ts";
import { LayerArchive } from "../archive/index.ts";
import type { Lease } from "../content/index.ts";
import type { Layer } from "../snapshot/index.ts";
import type { Descriptor } from "../spec/index.ts";
import { collectBlobs } from "./collect-images.ts";
import type { ImageServices } from "./image-record.ts";
import { releaseLayers } from "./layer-release.ts";
import { blobOf } from "./push-layer.ts";

/** Layers that travel without an image. What was carried and is named by nothing goes at disposal. */
export class CarriedLayers implements AsyncDisposable {
  readonly #lease: Lease;

  constructor(
    private readonly services: ImageServices,
    purpose: string,
  ) {
    this.#lease = services.content.lease(purpose);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#lease[Symbol.dispose]();
    await collectBlobs(this.services);
  }

  /** A layer's archive, compressed now where it is not kept. Throws notFound. */
  async send(
    chainId: string,
    signal: AbortSignal,
  ): Promise<{ blob: Descriptor; open: () => AsyncIterable<Uint8Array> }> {
    const { services } = this;
    const layer = services.snapshots.layer(chainId);
    if (!layer) throw new EngineError("notFound", `The layer "${chainId}" is not here`);
    const blob = await blobOf({ services, lease: this.#lease, signal }, layer);
    this.#lease.add(blob.digest);
    return { blob, open: () => services.content.open(blob.digest) };
  }

  /** Unpacks a layer that came as this blob. Throws invalidArgument, and leaves nothing, where blob or files are not what they were said to be. */
  async receive(
    below: string | undefined,
    {
      blob,
      diffId,
      source,
      signal,
    }: { blob: Descriptor; diffId: string; source: AsyncIterable<Uint8Array>; signal: AbortSignal },
  ): Promise<Layer> {
    const { content, snapshots, table } = this.services;
    const { digest, size, mediaType } = blob;
    await content.ingest(source, { mediaType, expected: { digest, size }, lease: this.#lease });
    const layer = await snapshots.apply(below, new LayerArchive(content.file(digest), { signal }), { diffId });
    if (layer.diffId !== diffId) {
      await releaseLayers(this.services, [layer.chainId]);
      throw new EngineError(
        "invalidArgument",
        `The layer "${digest}" holds "${layer.diffId}", not "${diffId}" as was said`,
      );
    }
    if (table.blobOf(diffId) === undefined) table.putLayerBlob(diffId, blob);
    return layer;
  }
}
