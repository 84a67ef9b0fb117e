export { build, type BuildRequest, type BuildServices } from "./build.ts";
export { BuildCache } from "./build-cache.ts";
export type { Executor, ExecutorStep } from "./executor.ts";
export { parseDockerfile, type Dockerfile, type Stage } from "./parse-dockerfile.ts";
export { expandWord, expandWords } from "./shell-words.ts";
