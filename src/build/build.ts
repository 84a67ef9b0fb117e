import { shortId } from "../common/index.ts";
import { familiarString, type ProgressMessage } from "../spec/index.ts";
import type { BuildRequest, BuildResult } from "./build-request.ts";
import type { BuildEvent } from "./progress.ts";
import { verifyBuild, verifyLines } from "./verify-build.ts";
import type { Builder } from "./builder.ts";
import { ClassicOutput, type ClassicOptions } from "./classic-output.ts";
import { parseTags } from "./export-image.ts";
import { TarSession } from "./tar-session.ts";

/** Options of a classic build. `context` is a tar, perhaps compressed, with the Dockerfile in it. */
export interface ClassicBuildRequest extends Omit<BuildRequest, "session" | "dialect">, ClassicOptions {
  readonly context: AsyncIterable<Uint8Array>;
  readonly credentials?: TarSession["credentials"];
  readonly quiet: boolean;
  /** Tells after the last step why each was cached or not. */
  readonly why: boolean;
  /** Builds a second time without the cache and tells what differs. */
  readonly verify: boolean;
}

/** A build out of a tar that tells what it does as Docker's classic builder does. Throws as `Builder.solve` does. */
export async function* build(builder: Builder, request: ClassicBuildRequest): AsyncGenerator<ProgressMessage> {
  const { context, credentials, ...options } = request;
  // Refused before the context is read.
  parseTags(request.tags);
  const { paths } = builder.services;
  // A context that is only named comes without a body, or with one that means nothing.
  const sent = request.frontend.context === undefined ? context : emptyTar();
  await using session = await TarSession.open(sent, {
    paths,
    trash: builder.trash,
    signal: request.signal,
    credentials,
  });
  yield* renderClassic(builder, { ...options, session, dialect: "classic" }, request);
}

async function* emptyTar(): AsyncGenerator<Uint8Array> {
  yield Buffer.alloc(1024);
}

/** The classic text of a build, whatever its session is. */
export async function* renderClassic(
  builder: Builder,
  request: BuildRequest,
  options: ClassicOptions & { readonly quiet: boolean; readonly why: boolean; readonly verify?: boolean },
): AsyncGenerator<ProgressMessage> {
  if (!options.quiet) return yield* renderAloud(builder, request, options);
  const kept: ProgressMessage[] = [];
  let imageId = "";
  try {
    for await (const message of renderAloud(builder, request, options)) {
      if (message.aux) imageId = (message.aux as { ID: string }).ID;
      else kept.push(message);
    }
  } catch (error) {
    // What was kept back is what tells why it failed.
    yield* kept;
    throw error;
  }
  yield { stream: `${imageId}\n` };
}

async function* renderAloud(
  builder: Builder,
  request: BuildRequest,
  options: ClassicOptions & { readonly why: boolean; readonly verify?: boolean },
): AsyncGenerator<ProgressMessage> {
  const result = yield* rendered(builder.solve(request), options);
  yield { stream: `Successfully built ${shortId(result.imageId ?? "")}\n` };
  for (const reference of parseTags(request.tags)) {
    yield { stream: `Successfully tagged ${familiarString(reference)}\n` };
  }
  if (options.why) for (const line of whyLines(result.reasons)) yield { stream: line };
  if (!options.verify) return;
  const found = yield* rendered(verifyBuild(builder, request, result), options);
  for (const line of verifyLines(found)) yield { stream: line };
}

/** The text of events, and what their generator returns. */
async function* rendered<Result>(
  events: AsyncGenerator<BuildEvent, Result>,
  options: ClassicOptions,
): AsyncGenerator<ProgressMessage, Result> {
  const output = new ClassicOutput(options);
  try {
    for (;;) {
      const { done, value } = await events.next();
      if (done) return value;
      yield* output.render(value);
    }
  } catch (error) {
    yield* output.finish();
    throw error;
  } finally {
    // A reader that leaves early ends the step that is under way, which cleans up after itself.
    await events.return(undefined as never);
  }
}

/** `Step 3: cached`, or what changed, a line each. */
export function whyLines(reasons: BuildResult["reasons"]): string[] {
  return reasons.flatMap(({ step, title, cached, changed }) => [
    `Step ${step}: ${cached ? "cached" : "ran"}: ${title}\n`,
    ...changed.map((sentence) => `    ${sentence}\n`),
  ]);
}
