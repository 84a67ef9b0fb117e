// OCI image spec, image-layout.md and image-index.md.
import {
  canonicalString,
  isDigest,
  parseReference,
  type Descriptor,
  type Platform,
  mediaTypes,
} from "../spec/index.ts";
import { EngineError } from "../common/index.ts";
import { attachedTo } from "./attestation-manifest.ts";
import { invalid, type ArchiveMembers } from "./archive-members.ts";
import type { ArchivedImage } from "./docker-archive.ts";
import { hostPlatform, platformText } from "../registry/index.ts";
import { isObject, parseImageConfig } from "./image-config.ts";
import { fitsPlatform, platformOf } from "./image-platform.ts";

const maxIndexDepth = 4;
/** containerd's whole reference, and the specification's, which often is a tag alone. */
const nameAnnotations = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];
const manifestTypes: readonly string[] = [mediaTypes.ociManifest, mediaTypes.dockerManifest];
const indexTypes: readonly string[] = [mediaTypes.ociIndex, mediaTypes.dockerList];

/** A manifest in an archive, and the indexes that led to it, the outermost first. */
interface FoundManifest {
  readonly descriptor: Descriptor;
  readonly indexes: readonly Descriptor[];
  readonly platform: Platform | undefined;
  /** Digests of what the innermost index attaches to it and the archive holds. */
  readonly attached: readonly string[];
}

/**
 * The images of an OCI layout's index.json. An index in it is taken with every image that the archive holds of it, that for this
 * machine first; with `platform`, with that alone.
 */
export function readOciLayout(members: ArchiveMembers, platform?: Platform): ArchivedImage[] {
  checkLayoutVersion(members);
  const images = new Map<string, ArchivedImage>();
  for (const descriptor of descriptors(members.json("index.json"), "manifests")) {
    const found = manifestsOf(members, { descriptor, indexes: [], platform: descriptor.platform, attached: [] }).filter(
      (each) => !platform || !each.platform || fitsPlatform(each.platform, platform),
    );
    const reference = referenceOf(descriptor);
    for (const [position, manifest] of hostFirst(found).entries()) {
      const key = `${descriptor.digest} ${manifest.descriptor.digest}`;
      const image = images.get(key) ?? { ...readManifest(members, manifest), references: [] };
      // Several names of one image are several entries with the same digest. An index's name is put on its first.
      const named = reference !== undefined && position === 0;
      images.set(key, { ...image, references: named ? [...image.references, reference] : image.references });
    }
  }
  if (images.size === 0) throw invalid(`"index.json" has no image for ${platform ? platformText(platform) : "linux"}`);
  return [...images.values()];
}

/** Whether index.json names an index: then manifest.json beside it tells less than the layout does. */
export function holdsIndex(members: ArchiveMembers): boolean {
  if (!members.has("oci-layout") || !members.has("index.json")) return false;
  return descriptors(members.json("index.json"), "manifests").some(({ mediaType }) => indexTypes.includes(mediaType));
}

function hostFirst(found: readonly FoundManifest[]): FoundManifest[] {
  const isOther = ({ platform }: FoundManifest): number =>
    platform === undefined || fitsPlatform(platform, hostPlatform()) ? 0 : 1;
  return found.toSorted((left, right) => isOther(left) - isOther(right));
}

function checkLayoutVersion(members: ArchiveMembers): void {
  const layout = members.json("oci-layout");
  const version = isObject(layout) ? layout["imageLayoutVersion"] : undefined;
  if (version !== "1.0.0") throw invalid(`its "imageLayoutVersion" is ${JSON.stringify(version)}, not "1.0.0"`);
}

function referenceOf({ annotations = {} }: Descriptor): string | undefined {
  const [full] = nameAnnotations
    .map((name) => annotations[name])
    .filter((text) => text !== undefined && /[:/]/.test(text));
  if (full === undefined) return undefined;
  const parsed = parseReference(full);
  return parsed.tag === undefined ? undefined : canonicalString({ ...parsed, tag: parsed.tag });
}

/** Follows indexes down to the manifests of images whose blobs are there, with what is attached to them; not to those of other systems. */
function manifestsOf(members: ArchiveMembers, found: FoundManifest): FoundManifest[] {
  const { descriptor, indexes, platform } = found;
  if (indexes.length > maxIndexDepth) throw invalid(`its indexes are nested more than ${maxIndexDepth} deep`);
  if (manifestTypes.includes(descriptor.mediaType))
    return indexes.length === 0 || isWhole(members, found) ? [found] : [];
  if (!indexTypes.includes(descriptor.mediaType)) return [];
  checkSize(members, descriptor);
  const entries = descriptors(members.json(blobName(descriptor)), "manifests").filter((entry) =>
    members.has(blobName(entry)),
  );
  return entries
    .filter((entry) => attachedTo(entry) === undefined)
    .flatMap((entry) =>
      manifestsOf(members, {
        descriptor: entry,
        indexes: [...indexes, descriptor],
        platform: entry.platform ?? platform,
        attached: entries
          .filter((each) => attachedTo(each) === entry.digest)
          .flatMap((each) => contentOf(members, each)),
      }),
    );
}

/** A manifest's digest and those of its blobs, or nothing where one of them is missing. */
function contentOf(members: ArchiveMembers, descriptor: Descriptor): string[] {
  checkSize(members, descriptor);
  const blobs = blobsOf(members, descriptor);
  if (!blobs.every((blob) => members.has(blobName(blob)))) return [];
  for (const blob of blobs) checkSize(members, blob);
  return [...blobs, descriptor].map(({ digest }) => digest);
}

/** Config first. */
function blobsOf(members: ArchiveMembers, descriptor: Descriptor): Descriptor[] {
  const manifest = members.json(blobName(descriptor));
  if (!isObject(manifest)) throw invalid(`the manifest "${descriptor.digest}" is no object`);
  return [asDescriptor(manifest["config"]), ...descriptors(manifest, "layers")];
}

function isWhole(members: ArchiveMembers, { descriptor, platform }: FoundManifest): boolean {
  if (platform && platform.os !== "linux") return false;
  return blobsOf(members, descriptor).every((blob) => members.has(blobName(blob)));
}

function readManifest(
  members: ArchiveMembers,
  { descriptor, indexes, platform, attached }: FoundManifest,
): Omit<ArchivedImage, "references"> {
  const manifest = members.json(blobName(descriptor));
  if (!isObject(manifest)) throw invalid(`the manifest "${descriptor.digest}" is no object`);
  const config = asDescriptor(manifest["config"]);
  checkSize(members, descriptor);
  checkSize(members, config);
  const layers = descriptors(manifest, "layers").map((layer) => {
    if (layer.mediaType.startsWith("application/vnd.docker.image.rootfs.foreign")) {
      throw new EngineError(
        "unsupported",
        `The layer "${layer.digest}" is a foreign layer, which is not in the archive`,
      );
    }
    if (!members.has(blobName(layer))) return undefined;
    checkSize(members, layer);
    return layer;
  });
  const configBytes = members.bytes(blobName(config));
  if (indexes.length === 0) return { configBytes, layers };
  return {
    configBytes,
    layers,
    indexed: {
      indexes,
      manifest: descriptor,
      attached,
      platform: platform ?? platformOf({ config: parseImageConfig(configBytes) }),
    },
  };
}

function descriptors(document: unknown, member: string): Descriptor[] {
  const list = isObject(document) ? document[member] : undefined;
  if (!Array.isArray(list)) throw invalid(`"${member}" is missing in an index or manifest`);
  return list.map(asDescriptor);
}

function asDescriptor(value: unknown): Descriptor {
  if (!isObject(value)) throw invalid("a descriptor is no object");
  const { digest, mediaType, size, annotations } = value;
  if (typeof digest !== "string" || !isDigest(digest)) {
    throw invalid(`the digest ${JSON.stringify(digest)} is no sha256 digest`);
  }
  if (typeof mediaType !== "string") throw invalid(`the descriptor of "${digest}" has no media type`);
  if (typeof size !== "number" || !Number.isSafeInteger(size) || size < 0) {
    throw invalid(`the descriptor of "${digest}" has no size`);
  }
  if (
    annotations !== undefined &&
    !(isObject(annotations) && Object.values(annotations).every((text) => typeof text === "string"))
  ) {
    throw invalid(`the annotations of "${digest}" are no object of text`);
  }
  return value as unknown as Descriptor;
}

function checkSize(members: ArchiveMembers, { digest, size }: Descriptor): void {
  const found = members.file(blobName({ digest })).size;
  if (found !== size) throw invalid(`"${digest}" has ${found} bytes, not ${size} as its descriptor says`);
}

function blobName({ digest }: { digest: string }): string {
  return `blobs/${digest.replace(":", "/")}`;
}
