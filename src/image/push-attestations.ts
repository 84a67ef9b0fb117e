import { EngineError } from "../common/index.ts";
import { familiarString, type Descriptor, type Index, type Platform } from "../spec/index.ts";
import {
  attestationManifest,
  attestationTypes,
  attestedIndex,
  emptyConfig,
  referrersTag,
  withReferrer,
  type ManifestBytes,
  type StatementBlob,
} from "./attestation-manifest.ts";
import type { Attestation } from "./attestation-table.ts";
import type { ImageRecord } from "./image-record.ts";
import { imageUrl } from "./image-url.ts";
import { statement } from "./in-toto-statement.ts";
import type { Push } from "./push-image.ts";

/** As BuildKit's limit of one attestation. */
export const maxPredicateBytes = 40 * 1024 * 1024;

/**
 * Uploads what is attested of an image whose manifest is there already: the statements, of that manifest's digest, and the manifest
 * that refers to it. Answers the index of both, which the tag is to name, and which is kept here.
 */
export async function pushAttestations(
  push: Push,
  { image, manifest, attestations }: { image: ImageRecord; manifest: Descriptor; attestations: readonly Attestation[] },
): Promise<ManifestBytes> {
  const { services, repository, reference, lease, signal } = push;
  const { os, architecture, variant } = image.config;
  const platform: Platform = { architecture, os, ...(variant ? { variant } : {}) };
  const name = imageUrl(familiarString(reference), [os, architecture, ...(variant ? [variant] : [])].join("/"));
  const statements: StatementBlob[] = [];
  for (const { predicateType, predicate } of attestations) {
    signal.throwIfAborted();
    lease.add(predicate.digest);
    const text = Buffer.from(services.content.readBytes(predicate.digest, maxPredicateBytes)).toString("utf8");
    const said = statement(predicateType, {
      subjects: [{ name, digest: manifest.digest }],
      predicate: JSON.parse(text) as object,
    });
    const bytes = Buffer.from(JSON.stringify(said, null, 2));
    const blob = { mediaType: attestationTypes.statement, digest: digestOf(bytes), size: bytes.length };
    await upload(push, { blob, bytes });
    statements.push({ predicateType, blob });
  }
  await upload(push, { blob: emptyConfig.descriptor, bytes: emptyConfig.bytes });
  const attestation = attestationManifest(manifest, statements);
  const { knowsSubject } = await repository.putManifest(attestation.descriptor.digest, attestation);
  if (!knowsSubject) await listReferrer(push, { subject: manifest.digest, attestation });
  const index = attestedIndex(manifest, { platform, attestation: attestation.descriptor });
  await services.content.ingestBytes(index.bytes, { mediaType: index.descriptor.mediaType, lease });
  return index;
}

async function upload(
  { repository, signal }: Push,
  { blob, bytes }: { blob: Descriptor; bytes: Uint8Array },
): Promise<void> {
  signal.throwIfAborted();
  if (await repository.hasBlob(blob.digest)) return;
  await repository.uploadBlob(blob, () => once(bytes));
}

/** A registry that does not know subjects gets the list of referrers as a tag. */
async function listReferrer(
  { repository }: Push,
  { subject, attestation }: { subject: string; attestation: ManifestBytes },
): Promise<void> {
  const tag = referrersTag(subject);
  const list = withReferrer(await presentList(repository, tag), attestation.descriptor);
  if (list) await repository.putManifest(tag, list);
}

async function presentList(repository: Push["repository"], tag: string): Promise<Index | undefined> {
  try {
    const present = await repository.manifest(tag);
    return present.kind === "index" ? present.index : undefined;
  } catch (error) {
    if (error instanceof EngineError && error.code === "notFound") return undefined;
    throw error;
  }
}

function digestOf(bytes: Uint8Array): string {
  return `sha256:${new Bun.CryptoHasher("sha256").update(bytes).digest("hex")}`;
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
