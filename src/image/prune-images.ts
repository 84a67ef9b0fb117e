// The rules of moby's daemon/images/image_prune.go.
import { EngineError } from "../common/index.ts";
import { booleanFilter, checkFilters, matchesLabels, untilMs } from "./image-filters.ts";
import type { DeletedItem, Filters, ImageRecord, ImageServices, ImageUsers } from "./image-record.ts";
import { referenceText } from "./image-table.ts";
import { removeImage } from "./remove-image.ts";

/** Removes dangling images; with `dangling=false` all that no container uses. What is in use is passed over. */
export async function pruneImages(
  services: ImageServices,
  filters: Filters,
  { usedBy, among = () => true }: { usedBy: ImageUsers; among?: (id: string) => boolean },
): Promise<{ deleted: DeletedItem[]; spaceReclaimed: number }> {
  checkFilters(filters, ["dangling", "label", "label!", "until"]);
  const danglingOnly = booleanFilter(filters, "dangling") ?? true;
  const until = untilMs(filters) ?? Infinity;
  const sizes = new Map(services.snapshots.layers().map((layer) => [layer.chainId, layer.sizeBytes]));
  const deleted: DeletedItem[] = [];
  for (const image of services.table.all()) {
    if (!among(image.id) || Date.parse(image.createdAt) > until || !matchesLabels(image, filters)) continue;
    for (const text of prunableNames(services, image, danglingOnly)) {
      deleted.push(...(await removeQuietly(services, text, usedBy)));
    }
  }
  const spaceReclaimed = deleted.reduce(
    (sum, item) => sum + ("Deleted" in item ? (sizes.get(item.Deleted) ?? 0) : 0),
    0,
  );
  return { deleted, spaceReclaimed };
}

/** The names by which the image is to be removed; none when it stays. */
function prunableNames({ table }: ImageServices, image: ImageRecord, danglingOnly: boolean): string[] {
  const references = table.references(image.id);
  if (references.length === 0) {
    return table.children(image.id).length > 0 || table.indexes.keeps(image.id) ? [] : [image.id];
  }
  if (danglingOnly && image.repoTags.length > 0) return [];
  return references.map(referenceText);
}

async function removeQuietly(services: ImageServices, text: string, usedBy: ImageUsers): Promise<DeletedItem[]> {
  try {
    return await removeImage(services, text, { force: false, noPrune: false, usedBy });
  } catch (error) {
    // In use, or gone with an image removed before it.
    if (error instanceof EngineError && ["conflict", "notFound"].includes(error.code)) return [];
    throw error;
  }
}
