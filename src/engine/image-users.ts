import type { ImageUsers } from "../image/index.ts";
import type { Core } from "./core.ts";

/** Which containers were made of an image. */
export function imageUsers(core: Core): ImageUsers {
  return (imageId) =>
    core.store
      .all()
      .filter((record) => record.imageId === imageId)
      .map((record) => ({ id: record.id, running: record.state.phase === "running" }));
}
