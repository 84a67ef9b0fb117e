import { parseManifest } from "../registry/index.ts";
import { mediaTypes, type Descriptor } from "../spec/index.ts";
import type { ImageRecord, ImageServices } from "./image-record.ts";

const maxKeptManifestBytes = 4 * 1024 * 1024;
/** Docker's own indentation: the same image gives the same digest whichever engine pushes it. */
const indentation = "   ";

interface Parts {
  readonly image: ImageRecord;
  readonly configSize: number;
  /** OCI's types: what attestations are beside. */
  readonly asOci?: boolean;
  /** Blobs in the order of the image's layers. */
  readonly layers: readonly Descriptor[];
}

interface ManifestBytes {
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
}

/** A manifest that the image came by and whose blobs are all here: a push sends these bytes again. */
export function keptManifest(
  { table, content }: ImageServices,
  image: ImageRecord,
): (ManifestBytes & { layers: readonly Descriptor[] }) | undefined {
  for (const kept of table.manifestsOf(image.id)) {
    if (!content.has(kept.digest)) continue;
    const bytes = content.readBytes(kept.digest, maxKeptManifestBytes);
    const parsed = parseManifest(bytes, kept.mediaType);
    if (parsed.kind !== "image" || parsed.manifest.config.digest !== image.id) continue;
    const { layers } = parsed.manifest;
    if (layers.length === image.layers.length && layers.every(({ digest }) => content.has(digest))) {
      return { descriptor: kept, bytes, layers };
    }
  }
  return undefined;
}

/** The kept manifest; else one in Docker's schema 2, or OCI's for zstd layers and attested images. */
export function chooseManifest(kept: ManifestBytes | undefined, parts: Parts): ManifestBytes {
  return kept ?? makeManifest(parts);
}

function makeManifest({ image, configSize, layers, asOci }: Parts): ManifestBytes {
  const isOci = asOci === true || layers.some(({ mediaType }) => mediaType.endsWith("zstd"));
  const mediaType = isOci ? mediaTypes.ociManifest : mediaTypes.dockerManifest;
  const manifest = {
    schemaVersion: 2,
    mediaType,
    config: { mediaType: isOci ? mediaTypes.ociConfig : mediaTypes.dockerConfig, size: configSize, digest: image.id },
    layers: layers.map((layer) => ({
      mediaType: layerType(layer.mediaType, isOci),
      size: layer.size,
      digest: layer.digest,
    })),
  };
  const bytes = Buffer.from(JSON.stringify(manifest, null, indentation));
  const digest = `sha256:${new Bun.CryptoHasher("sha256").update(bytes).digest("hex")}`;
  return { bytes, descriptor: { mediaType, digest, size: bytes.length } };
}

/** The same compression in the other family's words. */
export function layerType(mediaType: string, isOci: boolean): string {
  if (mediaType.endsWith("zstd")) return mediaTypes.ociLayerZstd;
  if (mediaType.endsWith("gzip")) return isOci ? mediaTypes.ociLayerGzip : mediaTypes.dockerLayerGzip;
  return isOci ? mediaTypes.ociLayer : mediaTypes.dockerLayer;
}
