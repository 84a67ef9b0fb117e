export { ContentStore, type IngestOptions } from "./content-store.ts";
export { Lease } from "./lease.ts";
