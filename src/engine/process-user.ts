import { resolveUser } from "../runtime/index.ts";
import type { ResolvedUser } from "../spec/index.ts";
import type { Core } from "./core.ts";

/** A user by the container's own files, read from its layers: before a start nothing is mounted yet. */
export function resolveProcessUser(
  core: Core,
  key: string,
  request: { user: string; groupAdd: readonly string[] },
): ResolvedUser {
  return resolveUser(core.snapshots.readDirectories(key), request);
}
