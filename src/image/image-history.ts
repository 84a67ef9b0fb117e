import { EngineError } from "../common/index.ts";
import type { ImageHistoryItem } from "../spec/index.ts";
import type { ImageRecord } from "./image-record.ts";
import { unixSeconds } from "./image-summaries.ts";
import type { ImageTable } from "./image-table.ts";

/** Newest first. Each entry has the id of the image it made here, while the chain of parents is known; else `<missing>`. */
export function imageHistory(table: ImageTable, image: ImageRecord): ImageHistoryItem[] {
  const items = historySteps(image).toReversed();
  let step: ImageRecord | undefined = image;
  for (const item of items) {
    if (!step) break;
    item.Id = step.id;
    item.Tags = step.repoTags.length > 0 ? step.repoTags : null;
    step = step.parent === "" ? undefined : table.byId(step.parent);
  }
  return items;
}

function historySteps(image: ImageRecord): ImageHistoryItem[] {
  let nextLayer = 0;
  return (image.config.history ?? []).map((entry) => {
    const layer = entry.empty_layer ? undefined : image.layers[nextLayer++];
    if (!entry.empty_layer && !layer) {
      throw new EngineError("internal", `The history of image "${image.id}" has more entries with a layer than layers`);
    }
    return {
      Id: "<missing>",
      Created: unixSeconds(entry.created),
      CreatedBy: entry.created_by ?? "",
      Tags: null,
      Size: layer?.sizeBytes ?? 0,
      Comment: entry.comment ?? "",
    };
  });
}
