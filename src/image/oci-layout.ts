// OCI image spec, image-layout.md and image-index.md.
import { canonicalString, isDigest, parseReference, type Descriptor, mediaTypes } from "../spec/index.ts";
import { EngineError } from "../common/index.ts";
import { invalid, type ArchiveMembers } from "./archive-members.ts";
import type { ArchivedImage } from "./docker-archive.ts";
import { hostArchitecture } from "./image-bytes.ts";
import { isObject } from "./image-config.ts";

const maxIndexDepth = 4;
/** containerd's whole reference, and the specification's, which often is a tag alone. */
const nameAnnotations = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];
const manifestTypes: readonly string[] = [mediaTypes.ociManifest, mediaTypes.dockerManifest];
const indexTypes: readonly string[] = [mediaTypes.ociIndex, mediaTypes.dockerList];

/** The images of an OCI layout's index.json; of an image for several platforms, the one for this machine. */
export function readOciLayout(members: ArchiveMembers): ArchivedImage[] {
  checkLayoutVersion(members);
  const images = new Map<string, ArchivedImage>();
  for (const descriptor of descriptors(members.json("index.json"), "manifests")) {
    const manifest = manifestFor(members, descriptor, 0);
    if (!manifest) continue;
    const reference = referenceOf(descriptor);
    const known = images.get(manifest.digest);
    const image = known ?? { ...readManifest(members, manifest), references: [] };
    // Several names of one image are several entries with the same digest.
    const references = reference === undefined ? image.references : [...image.references, reference];
    images.set(manifest.digest, { ...image, references });
  }
  if (images.size === 0) throw invalid(`"index.json" has no image for linux/${hostArchitecture()}`);
  return [...images.values()];
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

/** Follows indexes down to a manifest for this machine; undefined for what is none (attestations, other platforms). */
function manifestFor(members: ArchiveMembers, descriptor: Descriptor, depth: number): Descriptor | undefined {
  if (depth > maxIndexDepth) throw invalid(`its indexes are nested more than ${maxIndexDepth} deep`);
  if (manifestTypes.includes(descriptor.mediaType)) return descriptor;
  if (!indexTypes.includes(descriptor.mediaType)) return undefined;
  const entries = descriptors(members.json(blobName(descriptor)), "manifests").filter(isForThisMachine);
  for (const entry of entries) {
    if (!members.has(blobName(entry))) continue;
    const found = manifestFor(members, entry, depth + 1);
    if (found) return found;
  }
  return undefined;
}

function isForThisMachine({ platform }: Descriptor): boolean {
  return platform === undefined || (platform.os === "linux" && platform.architecture === hostArchitecture());
}

function readManifest(members: ArchiveMembers, descriptor: Descriptor): Omit<ArchivedImage, "references"> {
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
  return { configBytes: members.bytes(blobName(config)), layers };
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
