// OCI image spec 1.1 (manifest.md, image-index.md) and Docker's "Image Manifest V 2, Schema 2".
import { EngineError } from "../common/index.ts";
import { isDigest, mediaTypes, type Descriptor, type Index, type Manifest, type Platform } from "../spec/index.ts";
import { isForeignLayer } from "./client-foreign.ts";

/** As Docker's own limit. */
export const maxManifestBytes = 4 * 1024 * 1024;
const maxLayers = 1024;
const maxIndexEntries = 4096;
const schema1Types = [
  "application/vnd.docker.distribution.manifest.v1+prettyjws",
  "application/vnd.docker.distribution.manifest.v1+json",
];
const manifestTypes: readonly string[] = [mediaTypes.ociManifest, mediaTypes.dockerManifest];
const indexTypes: readonly string[] = [mediaTypes.ociIndex, mediaTypes.dockerList];
const configTypes: readonly string[] = [mediaTypes.ociConfig, mediaTypes.dockerConfig, "application/octet-stream"];
const layerTypes: readonly string[] = [
  mediaTypes.ociLayer,
  mediaTypes.ociLayerGzip,
  mediaTypes.ociLayerZstd,
  mediaTypes.dockerLayer,
  mediaTypes.dockerLayerGzip,
  "application/vnd.docker.image.rootfs.diff.tar.zstd",
];

export const acceptedManifests: readonly string[] = [...manifestTypes, ...indexTypes];

/** A manifest or an index with the bytes that its digest is of. */
export type ParsedManifest = { readonly descriptor: Descriptor; readonly bytes: Uint8Array } & (
  { readonly kind: "image"; readonly manifest: Manifest } | { readonly kind: "index"; readonly index: Index }
);

/** Checks what is relied on. `mediaType` is the answer's Content-Type. Throws invalidArgument, or `unsupported` for schema 1. */
export function parseManifest(bytes: Uint8Array, mediaType: string): ParsedManifest {
  const document = parseObject(bytes);
  const type =
    typeof document["mediaType"] === "string" ? document["mediaType"] : (mediaType.split(";")[0]?.trim() ?? "");
  if (document["schemaVersion"] === 1 || schema1Types.includes(type)) {
    throw new EngineError(
      "unsupported",
      "The image is in Docker's manifest schema 1, which was replaced in 2017 and is not supported: push it again with a present docker",
    );
  }
  const digest = `sha256:${new Bun.CryptoHasher("sha256").update(bytes).digest("hex")}`;
  const descriptor: Descriptor = { mediaType: type, digest, size: bytes.length };
  if (document["schemaVersion"] !== 2)
    throw invalid(`its "schemaVersion" is ${JSON.stringify(document["schemaVersion"])}, not 2`);
  if (indexTypes.includes(type)) {
    const manifests = descriptors(document["manifests"], { member: "manifests", most: maxIndexEntries });
    return { kind: "index", descriptor, bytes, index: { schemaVersion: 2, manifests } };
  }
  if (!manifestTypes.includes(type))
    throw new EngineError("unsupported", `The manifest's media type "${type}" is not one of an image`);
  const config = asDescriptor(document["config"]);
  if (!configTypes.includes(config.mediaType)) {
    throw new EngineError("unsupported", `Encountered remote "${config.mediaType}"(unknown) when fetching`);
  }
  const layers = descriptors(document["layers"], { member: "layers", most: maxLayers });
  for (const layer of layers) requireLayerType(layer);
  return { kind: "image", descriptor, bytes, manifest: { schemaVersion: 2, mediaType: type, config, layers } };
}

/** A manifest of any kind, such as one of attestations, with the bytes that its digest is of. */
export interface ParsedArtifact {
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
  /** Config first. */
  readonly blobs: readonly Descriptor[];
}

/** As `parseManifest`, of a manifest whose config and layers may be of any media type. */
export function parseArtifact(bytes: Uint8Array, mediaType: string): ParsedArtifact {
  const document = parseObject(bytes);
  const type = typeof document["mediaType"] === "string" ? document["mediaType"] : mediaType;
  if (!manifestTypes.includes(type))
    throw new EngineError("unsupported", `The manifest's media type "${type}" is not one of a manifest`);
  const layers = descriptors(document["layers"], { member: "layers", most: maxLayers });
  const digest = `sha256:${new Bun.CryptoHasher("sha256").update(bytes).digest("hex")}`;
  return {
    descriptor: { mediaType: type, digest, size: bytes.length },
    bytes,
    blobs: [asDescriptor(document["config"]), ...layers],
  };
}

/** The entry of an index for a platform, the closest variant first. Throws notFound with Docker's words. */
export function choosePlatform(index: Index, wanted: Platform): Descriptor {
  const fitting = index.manifests.filter(
    ({ platform, mediaType }) =>
      acceptedManifests.includes(mediaType) &&
      (platform === undefined
        ? indexTypes.includes(mediaType)
        : platform.os === wanted.os && platform.architecture === wanted.architecture && variantFits(platform, wanted)),
  );
  const exact = fitting.find(({ platform }) => platform?.variant === wanted.variant);
  const chosen = exact ?? fitting[0];
  if (chosen) return chosen;
  throw new EngineError("notFound", `no matching manifest for ${platformText(wanted)} in the manifest list entries`);
}

/** `linux/arm64/v8` → its parts. Throws invalidArgument. */
export function parsePlatform(text: string): Platform {
  const match = /^([a-z0-9]+)(?:\/([a-z0-9_-]+)(?:\/([a-z0-9._-]+))?)?$/.exec(text.toLowerCase());
  const [, first = "", second, variant] = match ?? [];
  if (!match)
    throw new EngineError("invalidArgument", `"${text}" is an invalid platform: os/architecture[/variant] is its form`);
  const os = second === undefined && first !== "linux" && first !== "windows" ? "linux" : first;
  const spoken = second ?? (os === first ? hostPlatform().architecture : first);
  const architecture = { x86_64: "amd64", aarch64: "arm64", armhf: "arm", armel: "arm" }[spoken] ?? spoken;
  return { os, architecture, ...(variant === undefined ? {} : { variant }) };
}

/** This machine, in the words of images. */
export function hostPlatform(): Platform {
  const names: Record<string, string> = { x64: "amd64", ia32: "386", arm64: "arm64", arm: "arm" };
  return { os: "linux", architecture: names[process.arch] ?? process.arch };
}

export function platformText({ os, architecture, variant }: Platform): string {
  return `${os}/${architecture}${variant === undefined ? "" : `/${variant}`}`;
}

function variantFits(offered: Platform, wanted: Platform): boolean {
  // arm64 without a variant is v8, which is what all of them are.
  if (wanted.variant === undefined || offered.variant === undefined) return true;
  return offered.variant === wanted.variant;
}

function requireLayerType(layer: Descriptor): void {
  const { mediaType, digest } = layer;
  if (layerTypes.includes(mediaType) || isForeignLayer(layer)) return;
  throw new EngineError(
    "unsupported",
    `The layer "${digest}" has the media type "${mediaType}", which is not a file system's`,
  );
}

function parseObject(bytes: Uint8Array): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new EngineError("invalidArgument", `The manifest is no JSON: ${(cause as Error).message}`, { cause });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw invalid("it is no object");
  return value as Record<string, unknown>;
}

function descriptors(value: unknown, { member, most }: { member: string; most: number }): Descriptor[] {
  if (!Array.isArray(value)) throw invalid(`"${member}" is no list`);
  if (value.length > most) throw invalid(`"${member}" has ${value.length} entries, and ${most} is the limit`);
  return value.map(asDescriptor);
}

function asDescriptor(value: unknown): Descriptor {
  const { mediaType, digest, size, platform, annotations, urls } = (value ?? {}) as Record<string, unknown>;
  if (typeof digest !== "string" || !isDigest(digest))
    throw invalid(`the digest ${JSON.stringify(digest)} is no sha256 digest`);
  if (typeof mediaType !== "string") throw invalid(`the descriptor of "${digest}" has no media type`);
  if (typeof size !== "number" || !Number.isSafeInteger(size) || size < 0)
    throw invalid(`the descriptor of "${digest}" has no size`);
  const places = Array.isArray(urls) ? { urls: urls.filter((url) => typeof url === "string") } : {};
  const common = { mediaType, digest, size, ...places, ...(isTexts(annotations) ? { annotations } : {}) };
  if (platform === undefined || platform === null) return common;
  const { os, architecture, variant } = platform as Record<string, unknown>;
  if (typeof os !== "string" || typeof architecture !== "string")
    throw invalid(`the platform of "${digest}" is not named`);
  return {
    ...common,
    platform: { os, architecture, ...(typeof variant === "string" && variant !== "" ? { variant } : {}) },
  };
}

function isTexts(value: unknown): value is Record<string, string> {
  return typeof value === "object" && value !== null && Object.values(value).every((text) => typeof text === "string");
}

function invalid(why: string): EngineError {
  return new EngineError("invalidArgument", `The manifest is not valid: ${why}`);
}
