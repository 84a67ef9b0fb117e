export { DetachWatcher, parseDetachKeys } from "./detach-keys.ts";
export { EngineError, toEngineError, type ErrorCode, type ErrorDetails } from "./errors.ts";
export { formatGoDuration, goDurationProblem, parseGoDuration } from "./go-duration.ts";
export { newId, shortId } from "./ids.ts";
export { orGone } from "./or-gone.ts";
export { Paths, defaultRoot, defaultRunRoot } from "./paths.ts";
export { vitrineVersion } from "./version.ts";
export { formatBinarySize, formatDuration, formatSize, parseSize } from "./units.ts";
