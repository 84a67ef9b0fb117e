import type { Core } from "./core.ts";

/** How a listing names a container's image: as it was asked for, while that name still means this image; else the image's id. */
export function shownImageName(core: Core, record: { imageId: string; config: { Image?: string } }): string {
  const asked = record.config.Image ?? record.imageId;
  try {
    return core.images.means(asked, record.imageId) ? asked : record.imageId;
  } catch {
    return record.imageId;
  }
}
