export { parseDockerfile, type Dockerfile, type Stage } from "./parse-dockerfile.ts";
