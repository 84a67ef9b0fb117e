// Contexts of the kind `oci-layout://STORE[:tag]@digest`: an image in a folder of the client, an OCI image layout.
import { createHash } from "node:crypto";
import { packEntries, tarHeader, type TarEntry } from "../archive/index.ts";
import { EngineError } from "../common/index.ts";
import type { ImageRecord, ImageStore } from "../image/index.ts";
import { choosePlatform, hostPlatform, parseManifest, parsePlatform } from "../registry/index.ts";
import { mediaTypes, type Descriptor } from "../spec/index.ts";
import type { CachePlace } from "./cache-place.ts";
import type { BuildSession } from "./session.ts";

const scheme = "oci-layout://";

interface Asked {
  readonly session: BuildSession;
  /** Absent: this machine's. */
  readonly platform: string | undefined;
  readonly signal: AbortSignal;
}

/** Whether a context's target is an image in a layout of the client. */
export function isLayout(target: string): boolean {
  return target.startsWith(scheme);
}

/** The digest by which a layout's image is named. Throws invalidArgument where there is none. */
export function layoutDigest(target: string): string {
  return partsOf(target).digest;
}

/** Brings the image, unless it is here, and answers it. Throws notFound for a platform that the layout has not. */
export async function layoutImage(images: ImageStore, target: string, asked: Asked): Promise<ImageRecord> {
  const { store, digest } = partsOf(target);
  const platform = asked.platform === undefined ? hostPlatform() : parsePlatform(asked.platform);
  const top = await manifestOf(store, digest, asked);
  const first = parseManifest(top.bytes, mediaTypes.ociManifest);
  const entry = first.kind === "index" ? choosePlatform(first.index, platform).digest : undefined;
  const { bytes, place } = entry === undefined ? top : await manifestOf(store, entry, asked);
  const parsed = entry === undefined ? first : parseManifest(bytes, mediaTypes.ociManifest);
  if (parsed.kind !== "image")
    throw new EngineError("unsupported", `The layout's image "${entry ?? digest}" is an index in an index`);
  const { config, layers } = parsed.manifest;
  const known = images.find(config.digest);
  if (known) return known;
  const archive = packEntries(members({ bytes, blobs: [config, ...layers] }, { place, signal: asked.signal }));
  for await (const _ of images.load(archive, { quiet: true }));
  return images.get(config.digest);
}

function partsOf(target: string): { store: string; digest: string } {
  const [, store, digest] = /^oci-layout:\/\/([^@:]+)(?::[^@]+)?@(sha256:[0-9a-f]{64})$/.exec(target) ?? [];
  if (store !== undefined && digest !== undefined) return { store, digest };
  throw new EngineError("invalidArgument", `The context "${target}" names no image of a layout by its digest`);
}

async function manifestOf(
  store: string,
  digest: string,
  { session, signal }: Asked,
): Promise<{ bytes: Uint8Array; place: CachePlace }> {
  const place = await session.cacheFolder?.(store, { kind: "oci", digest, signal });
  if (!place)
    throw new EngineError("unsupported", `The build's client does not offer the OCI layout "${store}" as a context`);
  return { bytes: await place.manifest(), place };
}

async function* members(
  { bytes, blobs }: { bytes: Uint8Array; blobs: readonly Descriptor[] },
  { place, signal }: { place: CachePlace; signal: AbortSignal },
): AsyncGenerator<TarEntry> {
  const digest = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
  const manifest = { mediaType: mediaTypes.ociManifest, digest, size: bytes.length };
  const index = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [manifest] };
  yield member("oci-layout", Buffer.from(JSON.stringify({ imageLayoutVersion: "1.0.0" })));
  yield member("index.json", Buffer.from(JSON.stringify(index)));
  yield member(nameOf(digest), bytes);
  const seen = new Set<string>();
  for (const blob of blobs) {
    if (seen.has(blob.digest)) continue;
    seen.add(blob.digest);
    const header = tarHeader({ name: nameOf(blob.digest), type: "file", size: blob.size });
    yield { header, body: verified(blob, place.blob(blob, signal)) };
  }
}

/** The client's word for a blob is not taken. */
async function* verified({ digest }: Descriptor, source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const hash = createHash("sha256");
  for await (const chunk of source) {
    hash.update(chunk);
    yield chunk;
  }
  const found = `sha256:${hash.digest("hex")}`;
  if (found !== digest) throw new EngineError("invalidArgument", `The layout's blob "${digest}" is "${found}"`);
}

function nameOf(digest: string): string {
  return `blobs/${digest.replace(":", "/")}`;
}

function member(name: string, bytes: Uint8Array): TarEntry {
  return { header: tarHeader({ name, type: "file", size: bytes.length }), body: once(bytes) };
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
