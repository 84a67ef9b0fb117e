export type * from "./contract.ts";
export type { EngineOptions } from "./core.ts";
export { createEngine } from "./create-engine.ts";
