import { gzipSync, zstdCompressSync } from "node:zlib";
import { mediaTypes } from "../../src/spec/index.ts";
import { configFor, sha256, tarOf } from "./image-fixture.ts";
import type { RegistryFixture } from "./registry-fixture.ts";

export interface Published {
  readonly id: string;
  readonly digest: string;
  readonly config: Buffer;
  readonly blobs: readonly Buffer[];
}

/** Puts an image of these layer tars into the registry, as `repository:tag`. */
export async function publish(
  registry: RegistryFixture,
  options: {
    repository?: string;
    tag?: string;
    layers?: readonly Buffer[];
    kind?: "docker" | "oci";
    compression?: "gzip" | "zstd" | "none";
    config?: Record<string, unknown>;
  } = {},
): Promise<Published> {
  const { repository = "app", tag = "v1", kind = "docker", compression = "gzip" } = options;
  const layers = options.layers ?? (await twoLayers());
  const config = configFor(layers, options.config);
  const pack = { gzip: gzipSync, zstd: zstdCompressSync, none: (bytes: Buffer) => bytes }[compression];
  const blobs = layers.map((layer) => Buffer.from(pack(layer)));
  const layerType = {
    gzip: kind === "docker" ? mediaTypes.dockerLayerGzip : mediaTypes.ociLayerGzip,
    zstd: mediaTypes.ociLayerZstd,
    none: kind === "docker" ? mediaTypes.dockerLayer : mediaTypes.ociLayer,
  }[compression];
  for (const blob of [config, ...blobs]) registry.putBlob(repository, blob);
  const mediaType = kind === "docker" ? mediaTypes.dockerManifest : mediaTypes.ociManifest;
  const manifest = {
    schemaVersion: 2,
    mediaType,
    config: {
      mediaType: kind === "docker" ? mediaTypes.dockerConfig : mediaTypes.ociConfig,
      digest: sha256(config),
      size: config.length,
    },
    layers: blobs.map((blob) => ({ mediaType: layerType, digest: sha256(blob), size: blob.length })),
    annotations: { "org.example.kept": "as it came" },
  };
  const digest = registry.putManifest(repository, tag, {
    bytes: Buffer.from(JSON.stringify(manifest, null, 1)),
    mediaType,
  });
  return { id: sha256(config), digest, config, blobs };
}

export async function twoLayers(): Promise<Buffer[]> {
  const noise = Buffer.from(crypto.getRandomValues(new Uint8Array(60_000)));
  return [
    await tarOf([{ name: "etc/" }, { name: "etc/one", text: noise }]),
    await tarOf([{ name: "etc/" }, { name: "etc/two", text: "two" }, { name: "etc/.wh.one" }]),
  ];
}

/** Puts a manifest list of manifests that are there already into the registry, as `app:tag`; answers its digest. */
export function publishIndex(
  registry: RegistryFixture,
  { tag, entries }: { tag: string; entries: readonly { digest: string; architecture: string }[] },
): string {
  const manifests = entries.map(({ digest, architecture }) => ({
    mediaType: mediaTypes.dockerManifest,
    digest,
    size: registry.manifests.get(`app/manifests/${digest}`)?.bytes.length,
    platform: { os: "linux", architecture },
  }));
  const index = { schemaVersion: 2, mediaType: mediaTypes.dockerList, manifests, annotations: { kept: "as it came" } };
  return registry.putManifest("app", tag, {
    bytes: Buffer.from(JSON.stringify(index, null, 2)),
    mediaType: mediaTypes.dockerList,
  });
}
