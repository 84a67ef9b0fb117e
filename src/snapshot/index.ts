export { createOverlay2 } from "./overlay-snapshotter.ts";
export { openSnapshotter, parseStorageDriver, storageDrivers, type StorageDriver } from "./open-snapshotter.ts";
export { chainIdOf } from "./chain-id.ts";
export { maxLayers } from "./overlay2-layout.ts";
export { listUnions, mountUnion, unionAt, unmountUnion, type Union } from "./union.ts";
export { Trash } from "./trash.ts";
export type { Change, ExpectedLayer, Layer, ParentLayer, Snapshotter } from "./snapshotter.ts";
