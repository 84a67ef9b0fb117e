import type * as session from "./build-session.ts";

export type { BuildStatus, BuildVertex, OutputPlace, SessionOffer } from "./build-session.ts";

/** The client's side of builds whose context the engine asks for. */
export type BuildSessions = Pick<typeof session, "openSession" | "decodeTrace">;

/** Loaded on first use: only builds need it. */
export function buildSessions(): Promise<BuildSessions> {
  return import("./build-session.ts");
}
