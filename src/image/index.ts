export { applyConfigChanges } from "./config-change.ts";
export { chainIdsOf } from "./chain-ids.ts";
export { matchGlob } from "./glob.ts";
export { parseImageConfig } from "./image-config.ts";
export type { CreateImageOptions, DeletedItem, ImageRecord, ImageStoreOptions, ImageUsers } from "./image-record.ts";
export { ImageStore } from "./image-store.ts";
export type { LayerHold } from "./layer-holds.ts";
