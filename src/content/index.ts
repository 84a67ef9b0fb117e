export { checkBlob, setBlobAside, unrecordedBlobs } from "./check-blobs.ts";
export { ContentStore, type IngestOptions, type ReceivedBlob } from "./content-store.ts";
export { Lease } from "./lease.ts";
