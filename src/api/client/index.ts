export { type EngineAddress, formatAddress, parseAddress } from "./address.ts";
export {
  type Answer,
  ApiClient,
  type CallOptions,
  clientApiVersion,
  compareVersions,
  pathPart,
  type Ping,
  type Query,
} from "./api-client.ts";
export {
  type BuildSessions,
  buildSessions,
  type BuildStatus,
  type BuildVertex,
  type OutputPlace,
  type SessionOffer,
} from "./build-sessions.ts";
export { isEngineRefusal, readText } from "./failures.ts";
export { type OutputFrame, readFrames } from "./frames.ts";
export type { HijackedConnection } from "./hijacked.ts";
export { readJsonLines } from "./json-lines.ts";
export { localMachine, localUnions, type LocalMachine, type LocalUnions, type TarEntry } from "./local-machine.ts";
