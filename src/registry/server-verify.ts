import { existsSync } from "node:fs";
import { join } from "node:path";
import { EngineError } from "../common/index.ts";
import { algorithmOf } from "./server-grammar.ts";
import { RegistryRecords } from "./server-records.ts";
import type { RegistryStorage } from "./storage-contract.ts";
import { digestOf, FolderStorage } from "./storage-folder.ts";

export interface VerifyReport {
  readonly blobs: number;
  readonly manifests: number;
  /** One sentence each. */
  readonly problems: readonly string[];
}

/**
 * Reads every blob and every manifest again and compares them with their digests; looks whether manifests have what they refer to.
 * Changes nothing, and may run beside the server: what is deleted meanwhile is no problem. Throws `notFound` where no registry is.
 */
export async function verifyRegistry(options: { root: string; storage?: RegistryStorage }): Promise<VerifyReport> {
  const path = join(options.root, "registry.db");
  if (!existsSync(path)) throw new EngineError("notFound", `No registry is in "${options.root}"`);
  using records = new RegistryRecords(path);
  const storage = options.storage ?? new FolderStorage(join(options.root, "blobs"));
  const blobs = records.blobs();
  const problems: string[] = [];
  for (const blob of blobs) {
    const problem = await problemOf(storage, blob);
    if (problem !== undefined && records.blobSize(blob.digest) !== undefined) problems.push(problem);
  }
  // A cache has of an image what somebody asked for.
  const isCache = records.upstream() !== undefined;
  let manifests = 0;
  for (const { repository, digest } of records.manifestNames()) {
    const bytes = records.manifest(repository, digest)?.bytes;
    if (!bytes) continue;
    manifests++;
    const found = `${algorithmOf(digest)}:${new Bun.CryptoHasher(algorithmOf(digest)).update(bytes).digest("hex")}`;
    if (found !== digest) problems.push(`The manifest "${digest}" of "${repository}" is damaged: it is "${found}"`);
    if (isCache) continue;
    for (const other of records.missingReferences(repository, digest)) {
      problems.push(`The manifest "${digest}" of "${repository}" needs "${other}", which is not there`);
    }
  }
  return { blobs: blobs.length, manifests, problems };
}

async function problemOf(
  storage: RegistryStorage,
  { digest, size }: { digest: string; size: number },
): Promise<string | undefined> {
  const found = await storage.size(digest);
  if (found === undefined) return `The blob "${digest}" is not in the ${storage.description}`;
  if (found !== size) return `The blob "${digest}" has ${found} bytes, not ${size}`;
  if (size === 0) return undefined;
  const body = storage.open(digest);
  const actual = await digestOf(body, algorithmOf(digest));
  return actual === digest ? undefined : `The blob "${digest}" is damaged: its bytes are "${actual}"`;
}
