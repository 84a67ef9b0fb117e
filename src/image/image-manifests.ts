// The Engine API's ImageManifestSummary (1.47), as moby gives it where it keeps indexes.
import { parseArtifact } from "../registry/index.ts";
import type { Descriptor, ImageManifestSummary, Platform } from "../spec/index.ts";
import { attachedTo } from "./attestation-manifest.ts";
import type { ImageRecord, ImageServices, ImageUsers } from "./image-record.ts";
import type { IndexMember } from "./index-table.ts";

const maxManifestBytes = 4 * 1024 * 1024;

interface Shown {
  readonly image: ImageRecord;
  /** Digest of the index that the image is looked at through. */
  readonly index: string | undefined;
  readonly usedBy: ImageUsers | undefined;
}

/** Of the index, or of the manifest that a registry knows the image by; undefined for an image that no manifest brought. */
export function imageDescriptor({ table }: ImageServices, { image, index }: Shown): Descriptor | undefined {
  return index === undefined ? table.manifestsOf(image.id)[0] : table.indexes.descriptor(index);
}

/** Every entry of the index, here or not; of an image of no index, its one manifest. */
export function imageManifests(services: ImageServices, shown: Shown): ImageManifestSummary[] {
  const { content, table } = services;
  const { image, index, usedBy } = shown;
  if (index === undefined || !content.has(index)) {
    const [manifest] = table.manifestsOf(image.id);
    if (!manifest) return [];
    const { os, architecture, variant } = image.config;
    const platform = { os, architecture, ...(variant ? { variant } : {}) };
    return [summaryOf(services, { entry: manifest, member: { imageId: image.id, manifest, platform }, usedBy })];
  }
  const members = new Map(table.indexes.members(index).map((member) => [member.manifest.digest, member]));
  return entriesOf(services, index).map((entry) =>
    summaryOf(services, { entry, member: members.get(entry.digest), usedBy }),
  );
}

/** With their annotations, which say what an attestation is of. */
function entriesOf({ content }: ImageServices, index: string): Descriptor[] {
  const document = JSON.parse(Buffer.from(content.readBytes(index, maxManifestBytes)).toString("utf8")) as {
    manifests?: Descriptor[];
  };
  return document.manifests ?? [];
}

function summaryOf(
  services: ImageServices,
  { entry, member, usedBy }: { entry: Descriptor; member: IndexMember | undefined; usedBy: ImageUsers | undefined },
): ImageManifestSummary {
  const of = attachedTo(entry);
  const parts = member || of !== undefined ? blobsOf(services, entry) : [];
  const here = parts.filter(({ digest }) => services.content.has(digest));
  const Content = here.reduce((sum, { size }) => sum + size, 0);
  const image = member && services.table.byId(member.imageId);
  const Unpacked = image?.sizeBytes ?? 0;
  const common = {
    ID: entry.digest,
    Descriptor: entry,
    Available: parts.length > 0 && here.length === parts.length,
    Size: { Content, Total: Content + Unpacked },
  };
  if (of !== undefined) {
    return { ...common, Kind: "attestation", AttestationData: { For: of } };
  }
  const platform: Platform | undefined = member?.platform ?? entry.platform;
  if (!platform) return { ...common, Kind: "unknown" };
  const Containers = member && usedBy ? usedBy(member.imageId).map(({ id }) => id) : [];
  return { ...common, Kind: "image", ImageData: { Platform: platform, Size: { Unpacked }, Containers } };
}

/** The manifest with the config and layers that it names; nothing when its bytes are gone. */
function blobsOf({ content }: ImageServices, descriptor: Descriptor): Descriptor[] {
  if (!content.has(descriptor.digest)) return [];
  const { blobs } = parseArtifact(content.readBytes(descriptor.digest, maxManifestBytes), descriptor.mediaType);
  return [descriptor, ...blobs];
}
