import type { Database } from "bun:sqlite";
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Paths } from "../common/index.ts";
import type { ImageStore, LayerHold } from "../image/index.ts";
import { Trash, type Snapshotter } from "../snapshot/index.ts";
import { BuildCache, type CacheRecord } from "./build-cache.ts";
import { attestResult, provenanceBuild } from "./attest-result.ts";
import { BuildProgress } from "./build-progress.ts";
import type { BuildRequest, BuildResult } from "./build-request.ts";
import { CacheMounts } from "./cache-mounts.ts";
import { cancelled } from "./cancelled.ts";
import type { BaseImage } from "./config-state.ts";
import { createGraph, type BuildPlan } from "./create-graph.ts";
import { EventQueue } from "./event-queue.ts";
import type { Executor } from "./executor.ts";
import { GitSource } from "./git-source.ts";
import { HttpSource } from "./http-source.ts";
import { InputTrees } from "./input-trees.ts";
import { buildWarnings } from "./lint-build.ts";
import { loadDockerfile, type LoadedDockerfile } from "./load-dockerfile.ts";
import { OperationWorker } from "./operation-worker.ts";
import { parseDockerfile, type Dockerfile } from "./parse-dockerfile.ts";
import type { BuildEvent } from "./progress.ts";
import { imageMaterial } from "./provenance-predicate.ts";
import { RemoteSession, type ContextOrigin } from "./remote-session.ts";
import { cacheBudgetBytes, pruneCache } from "./prune-cache.ts";
import { maxParallelOperations, Slots } from "./slots.ts";
import { Solver } from "./solver.ts";
import { layersOf } from "./stage-images.ts";
import { withNearestStage } from "./stage-names.ts";
import { stageSources } from "./stage-sources.ts";
import { exportImage } from "./export-image.ts";
import { walkStages, type WalkedStages } from "./walk-stages.ts";
import { WhyStore } from "./why-store.ts";
import type { Solved, WorkContext } from "./work-context.ts";

export interface BuildServices {
  readonly images: ImageStore;
  readonly snapshots: Snapshotter;
  readonly executor: Executor;
  readonly db: Database;
  readonly paths: Paths;
}

/**
 * Builds images; one for an engine, since builds at the same time share their cache and their work.
 *
 *     for await (const event of builder.solve(request)) …                  // events; what the generator returns is the result
 *     const { imageId } = await exportImage(services, result, { tags });
 */
export class Builder {
  readonly cache: BuildCache;
  readonly cacheMounts: CacheMounts;
  /** Where unpacked contexts go: whoever waits for a build should not wait for their deletion. */
  readonly trash: Trash;
  readonly why: WhyStore;
  readonly #slots = new Slots(maxParallelOperations);
  readonly #inFlight = new Map<string, Promise<CacheRecord>>();
  readonly #http: HttpSource;
  readonly #git: GitSource;

  constructor(readonly services: BuildServices) {
    const { db, paths, images } = services;
    this.cache = new BuildCache(db);
    this.trash = new Trash(join(paths.root, "build", "trash"));
    this.cacheMounts = new CacheMounts({ db, paths, trash: this.trash });
    this.why = new WhyStore(db);
    this.#http = new HttpSource({ db, paths });
    this.#git = new GitSource({ paths });
    images.keepLayersOf(() => this.cache.tops());
    removeLeftovers(paths);
  }

  /**
   * Does one build. Throws for a request or a Dockerfile that is wrong, before the first step; and for a step that fails, after what
   * it printed: a failed RUN has its exit code in `data.exitCode`. Whatever happens, mounts, snapshots and unpacked folders are gone
   * when it ends; what was made stays as cache. A reader that leaves early ends the build.
   */
  async *solve(request: BuildRequest): AsyncGenerator<BuildEvent, BuildResult> {
    const queue = new EventQueue();
    const abandoned = new AbortController();
    const signal = request.signal ? AbortSignal.any([request.signal, abandoned.signal]) : abandoned.signal;
    const work = this.#build(request, new BuildProgress(queue), signal);
    let complete = false;
    try {
      yield* queue.until(work);
      complete = true;
    } finally {
      // The reader has gone, or reads too slowly: no command may outlive its build.
      if (!complete) {
        abandoned.abort();
        await work.catch(() => undefined);
      }
    }
    return await work;
  }

  async #build(request: BuildRequest, progress: BuildProgress, signal: AbortSignal): Promise<BuildResult> {
    const { session, frontend } = request;
    const { context, fileName } = frontend;
    if (context === undefined) return this.#buildHere(request, { progress, signal, materials: [] });
    const keepGitDirectory = ["1", "true"].includes(frontend.arguments["BUILDKIT_CONTEXT_KEEP_GIT_DIR"] ?? "");
    const sources = { session, http: this.#http, git: this.#git, paths: this.services.paths, trash: this.trash };
    try {
      await using remote = await RemoteSession.open(context, { ...sources, fileName, keepGitDirectory, signal });
      const brought = { ...request, session: remote, frontend: { ...frontend, context: undefined } };
      return await this.#buildHere(brought, { progress, signal, materials: [remote.origin] });
    } catch (error) {
      throw signal.aborted ? cancelled() : error;
    }
  }

  async #buildHere(
    request: BuildRequest,
    { progress, signal, materials }: { progress: BuildProgress; signal: AbortSignal; materials: ContextOrigin[] },
  ): Promise<BuildResult> {
    const startedMs = Date.now();
    // Until an image names them: a layer of --link has no record of its own.
    using hold = this.services.images.hold("build");
    try {
      const loaded = await loadDockerfile(request.session, request.frontend.fileName);
      const dockerfile = parseDockerfile(loaded.text, { fileName: loaded.name });
      for (const warning of dockerfile.warnings) progress.tell({ type: "line", text: `${warning}\n` });
      const images = await this.#resolveImages(dockerfile, { request, progress, signal });
      const { frontend: options, entitlements } = request;
      const plan = createGraph({ dockerfile, options, images, exclude: loaded.exclude, entitlements });
      const warnings = buildWarnings(dockerfile, { frontend: options, images, exclude: loaded.exclude });
      if (warnings) progress.tell({ type: "status", status: warnings });
      const walked = await this.#walk(plan, { request, progress, signal, materials, hold });
      return await this.#result(request, { plan, walked, images, loaded, startedMs, progress, materials });
    } catch (error) {
      throw signal.aborted ? cancelled() : error;
    } finally {
      this.cache.flush();
      await this.#trim();
    }
  }

  /** Keeps the cache below its budget. */
  async #trim(): Promise<void> {
    if (this.cache.sizeBytes() <= cacheBudgetBytes) return;
    const { images, snapshots } = this.services;
    const { cache, cacheMounts } = this;
    await pruneCache(
      { cache, cacheMounts, images, snapshots },
      { all: true, filters: new Map(), keepBytes: cacheBudgetBytes },
    );
  }

  /** The images of FROM and --from; asked again, since ONBUILD of one may name others. */
  async #resolveImages(
    dockerfile: Dockerfile,
    { request, progress, signal }: { request: BuildRequest; progress: BuildProgress; signal: AbortSignal },
  ): Promise<ReadonlyMap<string, BaseImage>> {
    const images = new Map<string, BaseImage>();
    const { session, frontend } = request;
    for (;;) {
      const { missing } = stageSources(dockerfile, frontend, images);
      if (missing.length === 0) return images;
      const found = await Promise.all(
        missing.map(async (reference): Promise<BaseImage> => {
          const onProgress = (text: string): void => progress.tell({ type: "line", text: `${text}\n` });
          const pull = frontend.pull;
          const { executor } = this.services;
          const image = await executor
            .resolveBase(reference, { pull, session, signal, onProgress })
            .catch((error: unknown) => {
              throw withNearestStage(error, reference, dockerfile.stages);
            });
          const layers = image.layers.map(({ chainId }) => chainId);
          return { reference, imageId: image.id, layers, config: image.config };
        }),
      );
      for (const image of found) images.set(image.reference, image);
    }
  }

  async #walk(
    plan: BuildPlan,
    {
      request,
      progress,
      signal,
      materials,
      hold,
    }: {
      request: BuildRequest;
      progress: BuildProgress;
      signal: AbortSignal;
      materials: ContextOrigin[];
      hold: LayerHold;
    },
  ): Promise<WalkedStages> {
    const { images, snapshots, executor, paths } = this.services;
    const { cache, cacheMounts } = this;
    const { session, frontend } = request;
    let worker: OperationWorker | undefined;
    const solver = new Solver<Solved>(plan.nodes, async (node) => worker!.work(node), { signal });
    const sources = { session, snapshots, cache, http: this.#http, git: this.#git, paths };
    const inputs = { ...sources, signal: solver.signal, materials };
    await using trees = new InputTrees(inputs);
    const epoch = frontend.sourceDateEpoch;
    const context: WorkContext = {
      snapshots,
      executor,
      cache,
      cacheMounts,
      paths,
      slots: this.#slots,
      inFlight: this.#inFlight,
      hold,
      trees,
      progress,
      session,
      limits: frontend.limits,
      epoch,
      solver,
      signal: solver.signal,
    };
    worker = new OperationWorker(context);
    progress.tell({ type: "stages", stages: plan.stages.map(({ index }) => index) });
    for (const [index, title] of plan.metaTitles.entries()) {
      progress.tell({ type: "line", text: `Step ${index + 1}/${plan.total} : ${title}\n` });
    }
    const makers = { images, snapshots, cache, epoch };
    const { dialect } = request;
    try {
      return await walkStages({ plan, solver, makers, progress, dialect });
    } catch (error) {
      // What failed first is what tells why, not what it ended.
      await solver.settle();
      throw error;
    }
  }

  async #result(
    request: BuildRequest,
    done: {
      plan: BuildPlan;
      walked: WalkedStages;
      images: ReadonlyMap<string, BaseImage>;
      loaded: LoadedDockerfile;
      startedMs: number;
      progress: BuildProgress;
      materials: readonly ContextOrigin[];
    },
  ): Promise<BuildResult> {
    const { plan, walked, loaded, images, startedMs, progress } = done;
    if (plan.unusedArguments.length > 0) {
      const text = `[Warning] One or more build-args [${plan.unusedArguments.join(" ")}] were not consumed\n`;
      progress.tell({ type: "line", text });
    }
    const { end, stages } = walked;
    const reasons = this.why.compare(request, { loaded, outcomes: walked.outcomes });
    const found = (id: string): readonly string[] => this.services.images.find(id)?.repoDigests ?? [];
    const bases = [...images.values()].map(({ reference, imageId: id }) =>
      imageMaterial(reference, { id, repoDigests: found(id) }),
    );
    const result: BuildResult = {
      imageId: end.imageId === "" ? undefined : end.imageId,
      config: end.config,
      layers: layersOf(this.services.snapshots, end.top),
      stages,
      reasons,
      provenance: {
        materials: [...bases, ...done.materials],
        frontend: request.frontend,
        dockerfile: { name: loaded.name, text: loaded.text },
        startedMs,
        finishedMs: Date.now(),
      },
    };
    const exported = await exportImage(this.services, result, { tags: request.tags });
    await this.#attest(request, { result: exported, plan });
    this.why.record(request, { loaded, outcomes: walked.outcomes, imageId: exported.imageId, reasons });
    return exported;
  }

  async #attest(
    { frontend, session, tags, signal }: BuildRequest,
    { result, plan }: { result: BuildResult & { readonly imageId: string }; plan: BuildPlan },
  ): Promise<void> {
    const { images } = this.services;
    if (!frontend.attest) return;
    const context = session instanceof RemoteSession ? session.origin : undefined;
    const build = provenanceBuild(plan.nodes.values(), context);
    const epoch = frontend.sourceDateEpoch;
    const createdAt = epoch === undefined ? new Date() : new Date(epoch * 1000);
    const name = tags[0];
    for (const attested of await attestResult(this.services, result, {
      options: frontend.attest,
      build,
      name,
      createdAt,
      signal,
    })) {
      await images.attest(result.imageId, attested);
    }
  }
}

/** Secrets of commands that ran when a former engine was killed. */
function removeLeftovers({ run }: Paths): void {
  if (!existsSync(run)) return;
  for (const name of readdirSync(run)) {
    if (/^build-[0-9a-f]{16}$/.test(name)) rmSync(join(run, name), { recursive: true, force: true });
  }
}
