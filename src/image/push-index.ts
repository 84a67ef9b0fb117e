import { shortId } from "../common/index.ts";
import { repositoryName, type Descriptor } from "../spec/index.ts";
import type { ImageRecord } from "./image-record.ts";
import type { IndexPart } from "./index-parts.ts";
import type { Push } from "./push-image.ts";
import { maxUploads, sendBlob } from "./push-layer.ts";
import { Turns } from "./turns.ts";

/** Uploads a whole index: blobs, then manifests by digest, then the index under the tag, each with the bytes that came. */
export async function pushIndex(
  push: Push,
  { image, parts }: { image: ImageRecord; parts: readonly IndexPart[] },
): Promise<void> {
  const { services, repository, reference, lease, tell } = push;
  const blobs = new Map(parts.flatMap((part) => part.blobs.map((blob) => [blob.digest, blob] as const)));
  for (const digest of [...blobs.keys(), ...parts.map(({ descriptor }) => descriptor.digest)]) lease.add(digest);
  for (const digest of blobs.keys()) tell({ status: "Preparing", progressDetail: {}, id: shortId(digest) });
  const turns = new Turns(maxUploads);
  await allOf(
    [...blobs.values()].map((blob) => () => turns.take(() => sendBlob(push, { blob, id: shortId(blob.digest) }))),
    push.giveUp,
  );
  const top = parts.at(-1);
  if (!top) return;
  for (const part of parts.slice(0, -1)) await repository.putManifest(part.descriptor.digest, part);
  await repository.putManifest(reference.tag ?? "latest", top);
  const name = repositoryName(reference);
  services.table.atomically(() => {
    if (!services.table.has(image.id)) return;
    services.table.putDigest(image.id, { repository: name, digest: top.descriptor.digest });
    for (const digest of blobs.keys()) services.table.putBlobSource(digest, name);
  });
  tellEnd(push, top.descriptor);
}

/** The last lines of a push: what the tag names in the registry now. */
export function tellEnd({ reference, tell }: Pick<Push, "reference" | "tell">, { digest, size }: Descriptor): void {
  tell({ status: `${reference.tag}: digest: ${digest} size: ${size}` });
  tell({ progressDetail: {}, aux: { Tag: reference.tag, Digest: digest, Size: size } });
}

/** Waits for all. The first failure ends the others, and is thrown once none is under way any more. */
export async function allOf<T>(work: readonly (() => Promise<T>)[], giveUp: (error: unknown) => void): Promise<T[]> {
  const failures: unknown[] = [];
  const running = work.map((start) => start());
  for (const each of running) {
    each.catch((error: unknown) => {
      if (failures.push(error) === 1) giveUp(error);
    });
  }
  await Promise.allSettled(running);
  if (failures.length > 0) throw failures[0];
  return Promise.all(running);
}
