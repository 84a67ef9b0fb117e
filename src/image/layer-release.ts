import { EngineError } from "../common/index.ts";
import type { ImageServices } from "./image-record.ts";

/**
 * Removes those of the chain's layers that no image, other layer, snapshot or hold needs, top first; returns their chainIDs.
 * What a container still stands on stays, and goes with a later `collect`.
 */
export async function releaseLayers(services: ImageServices, chainIds: readonly string[]): Promise<string[]> {
  const { snapshots, table, holds } = services;
  const removed: string[] = [];
  holds.letGo(chainIds);
  for (const chainId of chainIds) {
    if (!snapshots.layer(chainId)) continue;
    // Asked anew for each, since the removal before it was a wait. What is needed needs all that is below it.
    if (table.chainIds().has(chainId) || holds.chainIds().has(chainId)) break;
    if (!(await removeUnneeded(services, chainId))) break;
    removed.push(chainId);
  }
  return removed;
}

async function removeUnneeded({ snapshots }: ImageServices, chainId: string): Promise<boolean> {
  try {
    await snapshots.removeLayer(chainId);
    return true;
  } catch (error) {
    if (error instanceof EngineError && error.code === "conflict") return false;
    throw error;
  }
}
