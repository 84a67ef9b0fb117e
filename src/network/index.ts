export type { NetworkInstance } from "./bridge-network.ts";
export { NamespacePool, type PreparedNamespace } from "./namespace-pool.ts";
export { NamespaceServer } from "./namespace-server.ts";
export { NetworkService, type AttachRequest, type Attachment } from "./network-service.ts";
export { type Relay } from "./published-ports.ts";
