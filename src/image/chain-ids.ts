import { chainIdOf } from "../snapshot/index.ts";

/** The chainIDs of an image's layers, lowest first, from its diffIDs, lowest first. */
export function chainIdsOf(diffIds: readonly string[]): string[] {
  const chainIds: string[] = [];
  for (const diffId of diffIds) chainIds.push(chainIdOf(chainIds.at(-1), diffId));
  return chainIds;
}
