import { EngineError } from "../common/index.ts";
import { parseArtifact, parseManifest, type ParsedArtifact, type ParsedManifest } from "../registry/index.ts";
import { mediaTypes, type Descriptor } from "../spec/index.ts";
import type { ImageServices } from "./image-record.ts";

const maxManifestBytes = 4 * 1024 * 1024;
const maxIndexDepth = 4;

/** A manifest, or an index, that is here with all that it names. */
export interface IndexPart extends Pick<ParsedManifest, "descriptor" | "bytes"> {
  /** Of a manifest: config first, then layers. */
  readonly blobs: readonly Descriptor[];
}

export interface IndexParts {
  /** What is here, each after all that it names; the index itself is last. */
  readonly parts: readonly IndexPart[];
  /** Whether nothing is missing. */
  readonly isWhole: boolean;
}

/** What of an index is here: manifests without all of their blobs count as missing. Throws internal when its bytes are gone. */
export function indexParts(services: ImageServices, digest: string): IndexParts {
  const descriptor = services.table.indexes.descriptor(digest);
  if (!descriptor) throw new EngineError("internal", `No index "${digest}" is recorded`);
  return walk(services, descriptor, 0);
}

function walk(services: ImageServices, descriptor: Descriptor, depth: number): IndexParts {
  if (depth > maxIndexDepth) {
    throw new EngineError("invalidArgument", `The image's indexes are nested more than ${maxIndexDepth} deep`);
  }
  const { content } = services;
  if (!content.has(descriptor.digest)) return { parts: [], isWhole: false };
  const parsed = parsedOrUndefined(content.readBytes(descriptor.digest, maxManifestBytes), descriptor.mediaType);
  if (!parsed) return { parts: [], isWhole: false };
  const part = { descriptor, bytes: parsed.bytes };
  if (parsed.kind === "manifest") {
    const { blobs } = parsed;
    const isWhole = blobs.every((blob) => content.has(blob.digest));
    return { parts: isWhole ? [{ ...part, blobs }] : [], isWhole };
  }
  const inner = parsed.index.manifests.map((entry) => walk(services, entry, depth + 1));
  return {
    parts: [...inner.flatMap(({ parts }) => parts), { ...part, blobs: [] }],
    isWhole: inner.every(({ isWhole }) => isWhole),
  };
}

type Parsed = (ParsedManifest & { kind: "index" }) | (ParsedArtifact & { kind: "manifest" });

/** An entry that is neither an index nor a manifest, of whatever kind, is as good as not here. */
function parsedOrUndefined(bytes: Uint8Array, mediaType: string): Parsed | undefined {
  try {
    if (!isIndex(mediaType)) return { ...parseArtifact(bytes, mediaType), kind: "manifest" };
    const parsed = parseManifest(bytes, mediaType);
    return parsed.kind === "index" ? parsed : undefined;
  } catch (error) {
    if (error instanceof EngineError && ["unsupported", "invalidArgument"].includes(error.code)) return undefined;
    throw error;
  }
}

function isIndex(mediaType: string): boolean {
  return mediaType === mediaTypes.ociIndex || mediaType === mediaTypes.dockerList;
}
