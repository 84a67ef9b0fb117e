export * from "./descriptor.ts";
export * from "./docker.ts";
export * from "./image-config.ts";
export * from "./mount.ts";
export * from "./oci-runtime.ts";
export * from "./plan.ts";
export * from "./process.ts";
export * from "./reference.ts";
