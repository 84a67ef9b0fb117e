import { matchesTag } from "./server-blobs.ts";
import { RegistryFailure } from "./server-failure.ts";
import { algorithmOf, isRegistryDigest, isRegistryTag } from "./server-grammar.ts";
import { checkManifest } from "./server-manifest-check.ts";
import type { RegistryLimits } from "./server-options.ts";
import type { RegistryRecords, StoredManifest } from "./server-records.ts";
import type { Uses } from "./server-uses.ts";

export interface ManifestServices {
  readonly records: RegistryRecords;
  readonly limits: RegistryLimits;
  readonly immutableTags: boolean;
  readonly uses: Uses;
}

interface ManifestCall {
  readonly request: Request;
  readonly repository: string;
  /** A tag or a digest. */
  readonly reference: string;
}

/** Tags of one push by digest (`?tag=…&tag=…`). */
const maxTagsAtOnce = 100;

/** GET and HEAD of a manifest, with the bytes and the media type that it was pushed with. */
export function serveManifest(
  { records, uses }: Pick<ManifestServices, "records" | "uses">,
  { request, repository, reference }: ManifestCall,
): Response {
  const { digest, mediaType, bytes } = find(records, repository, reference);
  // HEAD counts too: docker asks for a tag by HEAD, and then gets the manifest by its digest.
  uses.mark(repository, reference);
  const headers = {
    "Content-Length": String(bytes.length),
    "Content-Type": mediaType,
    "Docker-Content-Digest": digest,
    ETag: `"${digest}"`,
    "X-Content-Type-Options": "nosniff",
  };
  if (matchesTag(request.headers.get("If-None-Match"), digest)) {
    const { "Content-Length": _length, ...others } = headers;
    return new Response(null, { status: 304, headers: others });
  }
  return new Response(request.method === "HEAD" ? null : (bytes as Uint8Array<ArrayBuffer>), { headers });
}

/**
 * PUT: checks, then stores manifest, references and tags in one transaction. `tags` are more of them for a push by digest, which the
 * specification has since 1.1 (`PUT …/manifests/<digest>?tag=1&tag=1.2`).
 */
export async function pushManifest(
  services: ManifestServices,
  { request, repository, reference, tags: more }: ManifestCall & { tags: readonly string[] },
): Promise<Response> {
  const { records, limits } = services;
  const isDigest = isReferenceDigest(reference);
  const tags = isDigest ? readTags(more) : [reference];
  const bytes = await readLimited(request, limits.manifestBytes);
  const algorithm = isDigest ? algorithmOf(reference) : "sha256";
  const digest = `${algorithm}:${new Bun.CryptoHasher(algorithm).update(bytes).digest("hex")}`;
  if (isDigest && digest !== reference) {
    const message = `The manifest should be "${reference}" and is "${digest}"`;
    throw new RegistryFailure("DIGEST_INVALID", message, { detail: { digest: reference, found: digest } });
  }
  const manifest = checkManifest(bytes, request.headers.get("Content-Type") ?? "");
  requireSizes(records, repository, manifest.references);
  // No await between this look and the transaction: nobody can move a tag in between.
  if (services.immutableTags) for (const tag of tags) requireUnmoved(records, { repository, tag, digest });
  const missing = records.putManifest({ ...manifest, repository, digest, bytes }, { tags });
  if (missing.length > 0) throw missingReferences(repository, missing);
  const headers: Record<string, string> = {
    Location: `/v2/${repository}/manifests/${digest}`,
    "Docker-Content-Digest": digest,
  };
  if (manifest.subject !== undefined) headers["OCI-Subject"] = manifest.subject;
  if (isDigest && tags.length > 0) headers["OCI-Tag"] = tags.join(", ");
  return new Response(null, { status: 201, headers });
}

function readTags(tags: readonly string[]): string[] {
  if (tags.length > maxTagsAtOnce) {
    const message = `${tags.length} tags are too many for one push: ${maxTagsAtOnce} is the limit`;
    throw new RegistryFailure("MANIFEST_INVALID", message, { status: 414 });
  }
  const wrong = tags.find((tag) => !isRegistryTag(tag));
  if (wrong !== undefined) throw new RegistryFailure("MANIFEST_INVALID", `"${wrong.slice(0, 200)}" is no tag`);
  return [...new Set(tags)];
}

/** What a manifest says of its parts' sizes is so, as far as they are here. */
function requireSizes(
  records: RegistryRecords,
  repository: string,
  references: readonly { digest: string; kind: "blob" | "manifest"; size: number }[],
): void {
  for (const { digest, kind, size } of references) {
    const found =
      kind === "blob" ? records.linkedSize(repository, digest) : records.manifest(repository, digest)?.bytes.length;
    if (found === undefined || found === size) continue;
    throw new RegistryFailure("MANIFEST_INVALID", `"${digest}" has ${found} bytes, and the manifest says ${size}`);
  }
}

function requireUnmoved(
  records: RegistryRecords,
  { repository, tag, digest }: { repository: string; tag: string; digest: string },
): void {
  const present = records.taggedDigest(repository, tag);
  if (present === undefined || present === digest) return;
  const message = `The tag "${tag}" of "${repository}" is "${present}", and tags do not move here`;
  throw new RegistryFailure("DENIED", message, { status: 409, detail: { tag, digest: present } });
}

/** DELETE: a digest takes the manifest and its tags away, a tag only itself. */
export function deleteManifest({ records }: ManifestServices, { repository, reference }: ManifestCall): Response {
  const isDigest = isReferenceDigest(reference);
  const gone = isDigest ? records.deleteManifest(repository, reference) : records.deleteTag(repository, reference);
  if (!gone) throw unknownManifest(records, repository, reference);
  return new Response(null, { status: 202 });
}

function find(records: RegistryRecords, repository: string, reference: string): StoredManifest {
  const digest = isReferenceDigest(reference) ? reference : records.taggedDigest(repository, reference);
  const manifest = digest === undefined ? undefined : records.manifest(repository, digest);
  if (!manifest) throw unknownManifest(records, repository, reference);
  return manifest;
}

/** Whether it is a digest, not a tag. Throws for what is neither: DIGEST_INVALID where there is a colon, else MANIFEST_INVALID. */
export function isReferenceDigest(reference: string): boolean {
  if (isRegistryDigest(reference)) return true;
  if (isRegistryTag(reference)) return false;
  const shown = reference.slice(0, 200);
  if (reference.includes(":")) throw new RegistryFailure("DIGEST_INVALID", `"${shown}" is no sha256 or sha512 digest`);
  throw new RegistryFailure("MANIFEST_INVALID", `"${shown}" is no tag`);
}

export function unknownManifest(records: RegistryRecords, repository: string, reference: string): RegistryFailure {
  if (!records.hasRepository(repository)) return unknownRepository(repository);
  return new RegistryFailure("MANIFEST_UNKNOWN", `No manifest "${reference}" is in "${repository}"`, {
    detail: { reference },
  });
}

export function unknownRepository(repository: string): RegistryFailure {
  return new RegistryFailure("NAME_UNKNOWN", `There is no repository "${repository}"`, {
    detail: { name: repository },
  });
}

function missingReferences(repository: string, missing: readonly { digest: string; kind: string }[]): RegistryFailure {
  const shown = missing.map(({ digest, kind }) => `${kind} "${digest}"`).slice(0, 5);
  const message = `The manifest needs what is not in "${repository}": ${shown.join(", ")}`;
  return new RegistryFailure("MANIFEST_BLOB_UNKNOWN", message, { detail: missing.map(({ digest }) => ({ digest })) });
}

async function readLimited(request: Request, limitBytes: number): Promise<Uint8Array> {
  const tooLarge = (): RegistryFailure =>
    new RegistryFailure("MANIFEST_INVALID", `A manifest may have ${limitBytes} bytes`, { status: 413 });
  if (Number(request.headers.get("Content-Length") ?? 0) > limitBytes) throw tooLarge();
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of request.body ?? []) {
    size += chunk.length;
    if (size > limitBytes) throw tooLarge();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
