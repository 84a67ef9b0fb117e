import { mediaTypes } from "../spec/index.ts";
import { RegistryFailure } from "./server-failure.ts";
import { isRegistryDigest } from "./server-grammar.ts";

/** What a manifest says that the registry must know. */
export interface CheckedManifest {
  readonly mediaType: string;
  readonly subject: string | undefined;
  readonly artifactType: string | undefined;
  readonly annotations: string | undefined;
  readonly references: { digest: string; kind: "blob" | "manifest"; size: number }[];
}

const manifestTypes: readonly string[] = [mediaTypes.ociManifest, mediaTypes.dockerManifest];
const indexTypes: readonly string[] = [mediaTypes.ociIndex, mediaTypes.dockerList];
const maxReferences = 10_000;

type Json = Readonly<Record<string, unknown>>;

/**
 * Reads a pushed manifest (OCI image specification 1.1, manifest.md and image-index.md; Docker's schema 2). Throws
 * MANIFEST_INVALID with what is wrong. Layers that a client is told to get elsewhere (`urls`) need not be here.
 */
export function checkManifest(bytes: Uint8Array, contentType: string): CheckedManifest {
  const mediaType = contentType.split(";")[0]?.trim() ?? "";
  if (/^application\/vnd\.docker\.distribution\.manifest\.v1\+(?:json|prettyjws)$/.test(mediaType)) {
    throw invalid("Manifests of schema 1 are not taken: push the image with schema 2 or OCI");
  }
  const isIndex = indexTypes.includes(mediaType);
  if (!isIndex && !manifestTypes.includes(mediaType)) throw invalid(`"${mediaType}" is no media type of a manifest`);
  const manifest = parse(bytes);
  if (manifest.schemaVersion !== 2) throw invalid(`schemaVersion is ${JSON.stringify(manifest.schemaVersion)}, not 2`);
  if (manifest.mediaType !== undefined && manifest.mediaType !== mediaType) {
    throw invalid(
      `The manifest's mediaType is ${JSON.stringify(manifest.mediaType)}, and it was sent as "${mediaType}"`,
    );
  }
  const references = isIndex ? list(manifest, "manifests", "manifest") : imageReferences(manifest);
  const subject = manifest.subject === undefined ? undefined : descriptor(manifest.subject, "subject").digest;
  const configType = (manifest.config as Json | undefined)?.mediaType;
  const artifactType = manifest.artifactType ?? (isIndex ? undefined : configType);
  if (artifactType !== undefined && typeof artifactType !== "string") throw invalid("artifactType is no string");
  const annotations = manifest.annotations;
  if (annotations !== undefined && !isObject(annotations)) throw invalid("annotations are no object");
  return {
    mediaType,
    subject,
    artifactType,
    annotations: annotations === undefined ? undefined : JSON.stringify(annotations),
    references,
  };
}

function parse(bytes: Uint8Array): Json {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw invalid(`The manifest is no JSON: ${(error as Error).message}`);
  }
  if (!isObject(value)) throw invalid("The manifest is no JSON object");
  return value;
}

function imageReferences(manifest: Json): CheckedManifest["references"] {
  const config = descriptor(manifest.config, "config");
  return [{ digest: config.digest, size: config.size, kind: "blob" }, ...list(manifest, "layers", "blob")];
}

function list(manifest: Json, field: string, kind: "blob" | "manifest"): CheckedManifest["references"] {
  const values = manifest[field];
  if (!Array.isArray(values)) throw invalid(`"${field}" is no list`);
  if (values.length > maxReferences)
    throw invalid(`"${field}" has ${values.length} entries, and ${maxReferences} is the limit`);
  return values
    .map((value, index) => descriptor(value, `${field}[${index}]`))
    .filter(({ urls }) => !Array.isArray(urls) || urls.length === 0)
    .map(({ digest, size }) => ({ digest, size, kind }));
}

function descriptor(value: unknown, where: string): { digest: string; size: number; urls: unknown } {
  if (!isObject(value)) throw invalid(`"${where}" is no descriptor`);
  const { digest, size, mediaType, urls } = value;
  if (typeof mediaType !== "string") throw invalid(`"${where}" has no mediaType`);
  if (typeof size !== "number" || !Number.isSafeInteger(size) || size < 0) throw invalid(`"${where}" has no size`);
  if (typeof digest !== "string" || !isRegistryDigest(digest)) {
    throw invalid(`The digest of "${where}" is no sha256 or sha512 digest`);
  }
  return { digest, size, urls };
}

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function invalid(message: string): RegistryFailure {
  return new RegistryFailure("MANIFEST_INVALID", message);
}
