export { panorama } from "./panorama.ts";
export { explainScript } from "./explain-script.ts";
