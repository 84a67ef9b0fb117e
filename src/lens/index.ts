export { panorama } from "./panorama.ts";
export { explainScript } from "./explain-script.ts";
export { explainText, type ExplainedOp } from "./explain-text.ts";
