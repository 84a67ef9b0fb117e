export { ContentStore, type IngestOptions, type ReceivedBlob } from "./content-store.ts";
export { Lease } from "./lease.ts";
