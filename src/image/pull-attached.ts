import { EngineError } from "../common/index.ts";
import { parseArtifact } from "../registry/index.ts";
import type { Descriptor, Index } from "../spec/index.ts";
import { attachedTo } from "./attestation-manifest.ts";
import type { Pull } from "./pull-image.ts";

/** Of all blobs of one attached manifest. */
const maxAttachedBytes = 256 * 1024 * 1024;

/**
 * Fetches what an index attaches to one of its manifests, attestations as BuildKit stores them, so that the index is here whole and
 * goes on with the same bytes. Answers the digests of all of it. What the registry does not have is left out, since the image is
 * whole without. Throws as a pull does.
 */
export async function pullAttached(
  pull: Pull,
  { index, to }: { index: Index | undefined; to: string },
): Promise<string[]> {
  const digests: string[] = [];
  for (const entry of index?.manifests.filter((each) => attachedTo(each) === to) ?? []) {
    try {
      digests.push(...(await pullOne(pull, entry)));
    } catch (error) {
      if (!(error instanceof EngineError && error.code === "notFound")) throw error;
    }
  }
  return digests;
}

async function pullOne({ repository, services, lease, signal }: Pull, entry: Descriptor): Promise<string[]> {
  const answer = await repository.manifestBytes(entry.digest);
  const { descriptor, bytes, blobs } = parseArtifact(answer.bytes, answer.mediaType);
  const sizeBytes = blobs.reduce((sum, { size }) => sum + size, 0);
  if (sizeBytes > maxAttachedBytes) {
    throw new EngineError(
      "resourceExhausted",
      `What is attached by "${entry.digest}" has ${sizeBytes} bytes, and ${maxAttachedBytes} is the limit`,
    );
  }
  for (const blob of blobs) {
    signal.throwIfAborted();
    await services.content.ingest(repository.blob(blob), { mediaType: blob.mediaType, expected: blob, lease });
  }
  await services.content.ingestBytes(bytes, { mediaType: descriptor.mediaType, lease });
  return [...blobs.map(({ digest }) => digest), descriptor.digest];
}
