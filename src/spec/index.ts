export * from "./descriptor.ts";
export * from "./docker.ts";
export * from "./image-config.ts";
export * from "./mount.ts";
export * from "./plan.ts";
