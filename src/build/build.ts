import type { Database } from "bun:sqlite";
import { EngineError, shortId, type Paths } from "../common/index.ts";
import type { ImageStore } from "../image/index.ts";
import type { Snapshotter } from "../snapshot/index.ts";
import { familiarString, parseReference, withDefaultTag, type ProgressMessage, type Reference } from "../spec/index.ts";
import { BuildArguments } from "./build-arguments.ts";
import { BuildCache } from "./build-cache.ts";
import { openContext } from "./build-context.ts";
import { cancelled, type BuildEnvironment } from "./build-environment.ts";
import { ClassicOutput } from "./classic-output.ts";
import type { Executor } from "./executor.ts";
import { createGraph, type BuildGraph } from "./graph.ts";
import { parseDockerfile } from "./parse-dockerfile.ts";
import { solve } from "./solver.ts";
import type { StageState } from "./stage-state.ts";
import type { StepEvent } from "./step-events.ts";
import { StepWorker } from "./step-worker.ts";

/** Options of one build. `context` is a tar, perhaps compressed, with the Dockerfile in it. */
export interface ClassicBuildRequest {
  readonly context: AsyncIterable<Uint8Array>;
  /** Path inside the context. */
  readonly dockerfile: string;
  readonly tags: readonly string[];
  readonly arguments: Readonly<Record<string, string | null>>;
  readonly labels: Readonly<Record<string, string>>;
  readonly target?: string;
  readonly noCache: boolean;
  readonly quiet: boolean;
  readonly removeIntermediate: boolean;
  readonly forceRemove: boolean;
  readonly networkMode?: string;
  readonly signal?: AbortSignal;
}

export interface BuildServices {
  readonly images: ImageStore;
  readonly snapshots: Snapshotter;
  readonly executor: Executor;
  readonly db: Database;
  readonly paths: Paths;
}

/**
 * Builds an image and tells of it as Docker's classic builder does. Throws for a request or a Dockerfile that is wrong, before
 * the first message; and for a step that fails, after what it printed: a failed RUN has its exit code in `data.exitCode`.
 * Images of steps before a failure stay, as cache; snapshots, mounts and the unpacked context are gone in any case.
 */
export async function* build(request: ClassicBuildRequest, services: BuildServices): AsyncGenerator<ProgressMessage> {
  if (!request.quiet) return yield* buildAloud(request, services);
  const kept: ProgressMessage[] = [];
  let imageId = "";
  try {
    for await (const message of buildAloud(request, services)) {
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

async function* buildAloud(request: ClassicBuildRequest, services: BuildServices): AsyncGenerator<ProgressMessage> {
  const { images, snapshots, executor, db, paths } = services;
  const tags = parseTags(request.tags);
  try {
    await using context = await openContext(request.context, {
      dockerfile: request.dockerfile,
      paths,
      signal: request.signal,
    });
    const dockerfile = parseDockerfile(context.dockerfile.text, { fileName: context.dockerfile.name });
    const graph = createGraph(dockerfile, {
      arguments: BuildArguments.create(request.arguments),
      target: request.target,
      labels: request.labels,
    });
    using hold = images.hold("build");
    const environment: BuildEnvironment = {
      services: { images, snapshots, cache: new BuildCache(db), hold },
      executor,
      context,
      dockerfile,
      options: {
        noCache: request.noCache,
        removeIntermediate: request.removeIntermediate,
        forceRemove: request.forceRemove,
        networkMode: request.networkMode || "default",
        signal: request.signal,
      },
    };
    for (const warning of dockerfile.warnings) yield { stream: `${warning}\n` };
    const imageId = yield* renderSteps(environment, graph);
    yield* warnOfUnused(request, graph);
    yield { stream: `Successfully built ${shortId(imageId)}\n` };
    yield* tagImage(images, imageId, tags);
  } catch (error) {
    throw request.signal?.aborted ? cancelled() : error;
  }
}

/** Returns the id of the last stage's image. */
async function* renderSteps(environment: BuildEnvironment, graph: BuildGraph): AsyncGenerator<ProgressMessage, string> {
  const output = new ClassicOutput();
  const worker = new StepWorker(environment, graph);
  for (const [index, title] of graph.metaTitles.entries()) {
    yield* rendered(output, { type: "step", number: index + 1, total: graph.total, title });
  }
  const events = solve(graph.steps, (step, inputs: readonly StageState[]) => worker.work(step, inputs));
  try {
    for (;;) {
      const { done, value } = await events.next();
      if (!done) {
        yield* rendered(output, value);
        continue;
      }
      const last = graph.steps.at(-1);
      const imageId = (last && value.get(last.id)?.imageId) ?? "";
      if (imageId === "") throw new EngineError("invalidArgument", "No image was generated. Is your Dockerfile empty?");
      return imageId;
    }
  } finally {
    // A reader that leaves early ends the step that is under way, which cleans up after itself.
    await events.return(new Map());
  }
}

function* rendered(output: ClassicOutput, event: StepEvent): Generator<ProgressMessage> {
  const message = output.render(event);
  if (message) yield message;
}

function* warnOfUnused(request: ClassicBuildRequest, graph: BuildGraph): Generator<ProgressMessage> {
  const named = new Set(graph.steps.flatMap((step) => declaredNames(step.instruction)));
  const unused = Object.keys(request.arguments)
    .filter((name) => !named.has(name) && !graph.arguments.isDeclaredMeta(name) && !BuildArguments.isPredefined(name))
    .toSorted();
  if (unused.length > 0) {
    yield { stream: `[Warning] One or more build-args [${unused.join(" ")}] were not consumed\n` };
  }
}

function declaredNames(instruction: BuildGraph["steps"][number]["instruction"]): string[] {
  return instruction.kind === "ARG" ? instruction.arguments.map(({ key }) => key) : [];
}

function parseTags(tags: readonly string[]): Reference[] {
  const references = new Map<string, Reference>();
  for (const tag of tags) {
    const reference = withDefaultTag(parseReference(tag));
    if (reference.digest !== undefined) throw new EngineError("invalidArgument", "build tag cannot contain a digest");
    references.set(familiarString(reference), reference);
  }
  return [...references.values()];
}

async function* tagImage(
  images: ImageStore,
  imageId: string,
  tags: readonly Reference[],
): AsyncGenerator<ProgressMessage> {
  for (const reference of tags) {
    const { tag = "latest", ...repository } = reference;
    await images.tag(imageId, { repository: familiarString(repository), tag });
    yield { stream: `Successfully tagged ${familiarString(reference)}\n` };
  }
}
