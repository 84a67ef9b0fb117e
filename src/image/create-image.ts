import { createHash } from "node:crypto";
import { EngineError } from "../common/index.ts";
import type { Layer } from "../snapshot/index.ts";
import { hostPlatform } from "../registry/index.ts";
import { mediaTypes, parseReference, repositoryName, withDefaultTag } from "../spec/index.ts";
import { chainIdsOf } from "./chain-ids.ts";
import { parseImageConfig } from "./image-config.ts";
import type { CreateImageOptions, ImageRecord, ImageServices, IndexedImage } from "./image-record.ts";
import type { ImageTable } from "./image-table.ts";
import { fitsPlatform } from "./image-platform.ts";

/** Checks that layers and config tell the same, stores the config, then writes the record. */
export async function createImage(
  services: ImageServices,
  configBytes: Uint8Array,
  options: CreateImageOptions,
): Promise<ImageRecord> {
  const { content, table } = services;
  const config = parseImageConfig(configBytes);
  const layers = checkedLayers(services, { chainIds: options.layers, diffIds: config.rootfs.diff_ids });
  const target = options.reference === undefined ? undefined : parseTag(options.reference);
  using lease = content.lease("create image");
  using hold = services.holds.hold("create image");
  hold.add(options.layers.at(-1));
  const id = `sha256:${createHash("sha256").update(configBytes).digest("hex")}`;
  const { lasting = true } = options;
  if (!content.has(id)) await content.ingestBytes(configBytes, { mediaType: mediaTypes.ociConfig, lease, lasting });
  if (lasting) await table.unsynced.sync(services);
  const parent = options.parent !== undefined && table.has(options.parent) ? options.parent : "";
  const sizeBytes = layers.reduce((sum, layer) => sum + layer.sizeBytes, 0);
  const blobs = layers.map((layer, index) => ({ layer, blob: options.blobs?.[index] ?? table.blobOf(layer.diffId) }));
  const write = (): void => {
    table.insert({ id, config, parent: parent === id ? "" : parent, sizeBytes }, blobs);
    const main = options.indexed ? recordIndexes(table, { id, target, indexed: options.indexed }) : id;
    if (target) nameImage(table, { id: main, target, index: options.indexed?.indexes[0]?.digest });
    if (options.source) recordSource(table, { id, main, source: options.source });
  };
  if (lasting) table.atomically(write);
  else table.unsynced.record(id, write);
  const record = table.byId(id);
  if (!record) throw new EngineError("internal", `The image "${id}" was removed while it was created`);
  return record;
}

/** Puts a tag on an image, and on the index that the tag stands for. Within the caller's transaction. */
export function nameImage(
  table: ImageTable,
  { id, target, index }: { id: string; target: { repository: string; tag: string }; index: string | undefined },
): void {
  table.putTag(id, target);
  if (index !== undefined) table.indexes.nameTag(target, index);
}

/** Answers the image that a name of the outermost index means where no platform is asked for. */
function recordIndexes(
  table: ImageTable,
  {
    id,
    target,
    indexed,
  }: { id: string; target: { repository: string; tag: string } | undefined; indexed: IndexedImage },
): string {
  const { indexes, manifest, platform, attached } = indexed;
  table.putManifest(id, manifest);
  for (const index of indexes) table.indexes.add(index, { imageId: id, manifest, platform, attached });
  const before = target && table.imageOfTag(target.repository, target.tag);
  const members = table.indexes.members(indexes[0]?.digest ?? "");
  const host = hostPlatform();
  const ofHost = members.find((member) => fitsPlatform(member.platform, host))?.imageId;
  return ofHost ?? members.find(({ imageId }) => imageId === before)?.imageId ?? id;
}

function recordSource(
  table: ImageTable,
  { id, main, source }: { id: string; main: string; source: NonNullable<CreateImageOptions["source"]> },
): void {
  table.putManifest(id, source.manifest);
  table.putDigest(main, { repository: source.repository, digest: source.digest });
  for (const { digest } of source.layers) table.putBlobSource(digest, source.repository);
}

function checkedLayers(
  { snapshots }: ImageServices,
  { chainIds, diffIds }: { chainIds: readonly string[]; diffIds: readonly string[] },
): Layer[] {
  const expected = chainIdsOf(diffIds);
  if (expected.length !== chainIds.length) {
    throw new EngineError(
      "invalidArgument",
      `The image config names ${expected.length} layers, but ${chainIds.length} were given`,
    );
  }
  return expected.map((chainId, index) => {
    if (chainIds[index] !== chainId) {
      throw new EngineError(
        "invalidArgument",
        `Layer ${index + 1} is "${chainIds[index]}", but the image config means "${chainId}"`,
      );
    }
    const layer = snapshots.layer(chainId);
    if (!layer) throw new EngineError("notFound", `Layer ${index + 1}, "${chainId}", does not exist`);
    return layer;
  });
}

/** A reference that a tag may be put on: repository as stored, and tag. Throws invalidArgument. */
export function parseTag(text: string): { repository: string; tag: string } {
  const reference = withDefaultTag(parseReference(text));
  if (reference.digest !== undefined || reference.tag === undefined) {
    throw new EngineError("invalidArgument", "refusing to create a tag with a digest reference");
  }
  if (reference.domain === "docker.io" && reference.path === "library/sha256") {
    throw new EngineError("invalidArgument", "refusing to create an ambiguous tag using digest algorithm as name");
  }
  return { repository: repositoryName(reference), tag: reference.tag };
}
