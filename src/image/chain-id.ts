import { createHash } from "node:crypto";

/** OCI image spec, config.md: the identity of a layer on top of those below it. */
export function chainIdOf(parent: string | undefined, diffId: string): string {
  if (parent === undefined) return diffId;
  return `sha256:${createHash("sha256").update(`${parent} ${diffId}`).digest("hex")}`;
}

/** The chainIDs of an image's layers, lowest first, from its diffIDs, lowest first. */
export function chainIdsOf(diffIds: readonly string[]): string[] {
  const chainIds: string[] = [];
  for (const diffId of diffIds) chainIds.push(chainIdOf(chainIds.at(-1), diffId));
  return chainIds;
}
