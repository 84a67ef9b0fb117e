export type { AttachRequest, Attachment } from "./attachment.ts";
export type { NetworkInstance } from "./bridge-link.ts";
export { NamespacePool, type PreparedNamespace } from "./namespace-pool.ts";
export { NamespaceServer } from "./namespace-server.ts";
export { NetworkService } from "./network-service.ts";
export type { Relay } from "./published-ports.ts";
export { parsePort, requestedPorts } from "./published-ports.ts";
