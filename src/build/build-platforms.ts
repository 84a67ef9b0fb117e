import { EngineError } from "../common/index.ts";
import { parsePlatform, platformText } from "../registry/index.ts";
import { cancelled } from "./cancelled.ts";
import type { BuildRequest, BuildResult } from "./build-request.ts";
import { RemoteSession } from "./remote-session.ts";
import { SharedSession } from "./shared-session.ts";

/** The platforms that a build is for, each once; none where it names one or says nothing. Throws for what is none. */
export function severalPlatforms(text: string | undefined): string[] {
  if (!text?.includes(",")) return [];
  const named = text.split(",").filter((one) => one.trim() !== "");
  return [...new Set(named.map((one) => platformText(parsePlatform(one.trim()))))];
}

/**
 * Does one build for each platform, all at once: they lend each other what is the same, by the cache. The first failure ends the
 * others. Answers the first platform's result, with all of them in `platforms`.
 */
export async function buildPlatforms(
  request: BuildRequest,
  platforms: readonly string[],
  {
    signal,
    buildOne,
  }: { signal: AbortSignal; buildOne: (request: BuildRequest, signal: AbortSignal) => Promise<BuildResult> },
): Promise<BuildResult> {
  checkRequest(request, platforms);
  const stop = new AbortController();
  const both = AbortSignal.any([signal, stop.signal]);
  let failure: { error: unknown } | undefined;
  const fail = (error: unknown): void => {
    failure ??= { error };
    stop.abort();
  };
  // One that came from elsewhere is here already, and gives everybody the same folder.
  const isHere = request.session instanceof RemoteSession;
  await using shared = isHere ? undefined : new SharedSession(request.session, both);
  const session = shared ?? request.session;
  const builds = platforms.map(async (platform, index) => {
    const frontend = { ...request.frontend, platform, ofSeveral: { isFirst: index === 0 } };
    return buildOne({ ...request, session, frontend, tags: [] }, both);
  });
  for (const build of builds) build.catch(fail);
  await Promise.allSettled(builds);
  if (signal.aborted) throw cancelled();
  if (failure) throw failure.error;
  const results = await Promise.all(builds);
  const [first] = results;
  if (!first) throw new EngineError("internal", "A build for no platform was asked for");
  return { ...first, platforms: results };
}

function checkRequest({ dialect, cacheTo = [] }: BuildRequest, platforms: readonly string[]): void {
  const named = `"${platforms.join(",")}"`;
  if (dialect === "classic") {
    const message = `The platforms ${named} are not built together by the classic builder: use BuildKit's protocol, as --progress, --output or --push does`;
    throw new EngineError("unsupported", message);
  }
  const target = cacheTo.find(({ type }) => type !== "inline");
  if (!target) return;
  const message = `A cache of the kind "${target.type}" is not written yet of a build for the platforms ${named}: write it of each`;
  throw new EngineError("unsupported", message);
}
