import { packEntries, tarHeader, type TarEntry } from "../archive/index.ts";
import { EngineError } from "../common/index.ts";
import type { Layer } from "../snapshot/index.ts";
import {
  familiarString,
  mediaTypes,
  parseReference,
  repositoryName,
  withDefaultTag,
  type Descriptor,
  type Manifest,
  type Platform,
} from "../spec/index.ts";
import { createHash } from "node:crypto";
import { maxConfigBytes } from "./image-config.ts";
import { findImage, getImage, isIdPrefixOf } from "./image-lookup.ts";
import { getImageFor, indexMeant } from "./image-platform.ts";
import type { ImageRecord, ImageServices } from "./image-record.ts";
import { indexParts, type IndexParts } from "./index-parts.ts";
import { layerTar, layerTarSize } from "./layer-blob.ts";

/** An image to save with the tags asked for: `docker.io/library/app` and `v1`. */
interface Selected {
  readonly image: ImageRecord;
  /** What of the index is here, when the names stand for one: then it goes as it came. */
  readonly index?: IndexParts | undefined;
  readonly tags: readonly { repository: string; tag: string }[];
}

/**
 * See `ImageStore.save`. Layers are uncompressed and named by their diffIDs, as Docker 25 and later write them: so old and new
 * Docker, podman and skopeo read it, and ids stay what they are.
 */
export async function saveImages(
  services: ImageServices,
  references: readonly string[],
  platform?: Platform,
): Promise<AsyncIterable<Uint8Array>> {
  if (references.length === 0) throw new EngineError("invalidArgument", "No image was named to be saved");
  const selected = select(services, references, platform);
  return stream(services, selected);
}

/** One image under names that need not be here. See `ImageStore.saveAs`. */
export async function saveImageAs(
  services: ImageServices,
  id: string,
  names: readonly string[],
): Promise<AsyncIterable<Uint8Array>> {
  return stream(services, [{ image: getImage(services.table, id), tags: names.map(archiveTag) }]);
}

/** An index under names that need not be here; `id` is of an image in it. See `ImageStore.saveIndexAs`. */
export async function saveIndexAs(
  services: ImageServices,
  { id, index }: { id: string; index: string },
  names: readonly string[],
): Promise<AsyncIterable<Uint8Array>> {
  const image = getImage(services.table, id);
  return stream(services, [{ image, index: savedIndex(services, { image, index }), tags: names.map(archiveTag) }]);
}

function archiveTag(name: string): { repository: string; tag: string } {
  const reference = withDefaultTag(parseReference(name));
  return { repository: repositoryName(reference), tag: reference.tag ?? "latest" };
}

async function* stream(services: ImageServices, selected: readonly Selected[]): AsyncGenerator<Uint8Array> {
  using hold = services.holds.hold("save");
  using lease = services.content.lease("save");
  for (const { image, index } of selected) {
    for (const { descriptor, blobs } of index?.parts ?? []) {
      for (const { digest } of [descriptor, ...blobs]) lease.add(digest);
    }
    hold.add(image.chainId);
    lease.add(image.id);
    for (const { diffId } of image.layers) {
      const blob = services.table.blobOf(diffId);
      if (blob) lease.add(blob.digest);
    }
  }
  yield* packEntries(members(services, selected));
}

interface Selection {
  readonly image: ImageRecord;
  readonly index: string | undefined;
  readonly tags: Map<string, { repository: string; tag: string }>;
}

/** As Docker: a repository without a tag means all its tags; an id has none. */
function select(services: ImageServices, references: readonly string[], platform: Platform | undefined): Selected[] {
  const { table } = services;
  const selected = new Map<string, Selection>();
  const add = (text: string, tag?: { repository: string; tag: string }): void => {
    const image = platform ? getImageFor(table, text, platform) : getImage(table, text);
    const index = platform || isIdPrefixOf(image.id, text) ? undefined : indexMeant(table, text);
    const key = `${image.id} ${index ?? ""}`;
    const entry = selected.get(key) ?? { image, index, tags: new Map() };
    selected.set(key, entry);
    if (tag) entry.tags.set(`${tag.repository}:${tag.tag}`, tag);
  };
  for (const text of references) {
    const tags = tagsMeant(services, text);
    // In Docker's words, which here name no default tag.
    if (tags.length === 0 && !findImage(table, text)) throw new EngineError("notFound", `No such image: ${text}`);
    for (const { repository, tag } of tags) add(`${repository}:${tag}`, { repository, tag });
    if (tags.length === 0) add(text);
  }
  return [...selected.values()].map(({ image, index, tags }) => ({
    image,
    tags: [...tags.values()],
    index: index === undefined ? undefined : savedIndex(services, { image, index }),
  }));
}

/** Undefined where not even the image's own manifest is here whole: it is then saved as one that no index brought. */
function savedIndex(
  services: ImageServices,
  { image, index }: { image: ImageRecord; index: string },
): IndexParts | undefined {
  const found = indexParts(services, index);
  return found.parts.some(({ blobs }) => blobs[0]?.digest === image.id) ? found : undefined;
}

function tagsMeant(services: ImageServices, text: string): { imageId: string; repository: string; tag: string }[] {
  if (/^(sha256:)?[0-9a-f]{64}$/.test(text) || text.startsWith("sha256:")) return [];
  const reference = parseReference(text);
  const repository = repositoryName(reference);
  if (reference.digest !== undefined) return [];
  const tags = services.table.referencesOfRepository(repository).filter((stored) => "tag" in stored);
  if (reference.tag === undefined) return tags;
  return tags.filter((stored) => stored.tag === reference.tag);
}

/** Times are zero, so that the same images give the same archive. */
async function* members(services: ImageServices, selected: readonly Selected[]): AsyncGenerator<TarEntry> {
  const written = new Set<string>();
  yield directory("blobs");
  yield directory("blobs/sha256");
  const manifests: ({ selected: Selected } & Saved)[] = [];
  for (const entry of selected) {
    const saved = entry.index
      ? yield* indexMembers(services, written, { image: entry.image, parts: entry.index.parts })
      : yield* imageMembers(services, written, entry.image);
    manifests.push({ selected: entry, ...saved });
  }
  yield file("index.json", json(ociIndex(manifests)));
  yield file("manifest.json", json(manifests.map(dockerManifestEntry)));
  yield file("oci-layout", json({ imageLayoutVersion: "1.0.0" }));
  const repositories = legacyRepositories(selected);
  if (Object.keys(repositories).length > 0) yield file("repositories", json(repositories));
}

/** What an archive's own lists say of an image that was written. */
interface Saved {
  readonly manifest: Descriptor;
  /** Of the image that `manifest.json` names: lowest first. */
  readonly layers: Descriptor[];
}

async function* imageMembers(
  services: ImageServices,
  written: Set<string>,
  image: ImageRecord,
): AsyncGenerator<TarEntry, Saved> {
  const layers: Descriptor[] = [];
  for (const layer of image.layers) {
    const size = await layerTarSize(services, layer);
    layers.push({ mediaType: mediaTypes.ociLayer, digest: layer.diffId, size });
    if (isNew(written, layer.diffId)) yield layerMember(services, { layer, size });
  }
  const config = services.content.readBytes(image.id, maxConfigBytes);
  if (isNew(written, image.id)) yield file(blobName(image.id), config);
  const { descriptor: manifest, bytes } = makeManifest(image, { configSize: config.length, layers });
  if (isNew(written, manifest.digest)) yield file(blobName(manifest.digest), bytes);
  return { manifest, layers };
}

/** The blobs as they came, so that the index's digest is the same where they are loaded. */
async function* indexMembers(
  { content }: ImageServices,
  written: Set<string>,
  { image, parts }: { image: ImageRecord; parts: IndexParts["parts"] },
): AsyncGenerator<TarEntry, Saved> {
  for (const { descriptor, blobs } of parts) {
    for (const { digest } of [...blobs, descriptor]) {
      if (!isNew(written, digest)) continue;
      const header = tarHeader({ name: blobName(digest), type: "file", size: content.sizeOf(digest) });
      yield { header, body: content.open(digest) };
    }
  }
  const own = parts.find(({ blobs }) => blobs[0]?.digest === image.id);
  const top = parts.at(-1);
  if (!own || !top) throw new EngineError("internal", `The manifest of "${image.id}" is not in its index`);
  return { manifest: top.descriptor, layers: own.blobs.slice(1) };
}

function makeManifest(
  image: ImageRecord,
  { configSize, layers }: { configSize: number; layers: readonly Descriptor[] },
): { descriptor: Descriptor; bytes: Uint8Array } {
  const manifest: Manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config: { mediaType: mediaTypes.ociConfig, digest: image.id, size: configSize },
    layers,
  };
  const bytes = json(manifest);
  const digest = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
  return { descriptor: { mediaType: mediaTypes.ociManifest, digest, size: bytes.length }, bytes };
}

/** One entry a name, as the OCI layout has it; one without a name for an image saved by its id. */
function ociIndex(entries: readonly { selected: Selected; manifest: Descriptor }[]): unknown {
  const manifests = entries.flatMap(({ selected, manifest }) => {
    if (selected.tags.length === 0) return [manifest];
    return selected.tags.map(({ repository, tag }) => ({
      ...manifest,
      annotations: {
        "io.containerd.image.name": `${repository}:${tag}`,
        "org.opencontainers.image.ref.name": tag,
      },
    }));
  });
  return { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests };
}

function dockerManifestEntry(entry: { selected: Selected; layers: readonly Descriptor[] }): unknown {
  const { image, tags } = entry.selected;
  return {
    Config: blobName(image.id),
    RepoTags: tags.length > 0 ? tags.map(familiar) : null,
    Layers: entry.layers.map((layer) => blobName(layer.digest)),
    LayerSources: Object.fromEntries(image.layers.map(({ diffId }, index) => [diffId, entry.layers[index]])),
  };
}

/** The `repositories` member of Docker before 1.10: name → tag → top layer, which tools still list names from. */
function legacyRepositories(selected: readonly Selected[]): Record<string, Record<string, string>> {
  const repositories: Record<string, Record<string, string>> = {};
  for (const { image, tags } of selected) {
    const top = image.layers.at(-1)?.diffId ?? image.id;
    for (const { repository, tag } of tags) {
      const name = familiar({ repository, tag }).slice(0, -tag.length - 1);
      repositories[name] = { ...repositories[name], [tag]: top.slice("sha256:".length) };
    }
  }
  return repositories;
}

function familiar({ repository, tag }: { repository: string; tag: string }): string {
  return familiarString(parseReference(`${repository}:${tag}`));
}

function isNew(written: Set<string>, digest: string): boolean {
  if (written.has(digest)) return false;
  written.add(digest);
  return true;
}

function layerMember(services: ImageServices, { layer, size }: { layer: Layer; size: number }): TarEntry {
  return { header: tarHeader({ name: blobName(layer.diffId), type: "file", size }), body: layerTar(services, layer) };
}

function directory(name: string): TarEntry {
  return { header: tarHeader({ name, type: "directory", mode: 0o755 }), body: chunks() };
}

function file(name: string, bytes: Uint8Array): TarEntry {
  return { header: tarHeader({ name, type: "file", size: bytes.length }), body: chunks(bytes) };
}

async function* chunks(...parts: Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* parts;
}

function blobName(digest: string): string {
  return `blobs/${digest.replace(":", "/")}`;
}

function json(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value));
}
