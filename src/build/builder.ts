import type { Database } from "bun:sqlite";
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Paths } from "../common/index.ts";
import type { ImageStore, LayerHold } from "../image/index.ts";
import { familiarString, type Descriptor } from "../spec/index.ts";
import { Trash, type Layer, type Snapshotter } from "../snapshot/index.ts";
import { BuildCache, type CacheRecord } from "./build-cache.ts";
import { attestResult, provenanceBuild, type AttestedPredicate } from "./attest-result.ts";
import { BuildProgress } from "./build-progress.ts";
import { buildPlatforms, severalPlatforms } from "./build-platforms.ts";
import type { BuildRequest, BuildResult } from "./build-request.ts";
import { CacheMounts } from "./cache-mounts.ts";
import { parseImageKey } from "./build-platform.ts";
import { cancelled } from "./cancelled.ts";
import type { BaseImage } from "./config-state.ts";
import { createGraph, type BuildPlan } from "./create-graph.ts";
import { EventQueue } from "./event-queue.ts";
import type { Executor } from "./executor.ts";
import { GitSource } from "./git-source.ts";
import { imageOfFailedStep } from "./failed-step.ts";
import { HttpSource } from "./http-source.ts";
import { InputTrees } from "./input-trees.ts";
import { buildWarnings } from "./lint-build.ts";
import { isLayout, layoutImage } from "./layout-image.ts";
import { LazyLayers, type FailedImport, type ImportedCache } from "./lazy-layers.ts";
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
import { exportCaches, importCaches, inlineCache, tellUnusable, type Keepable } from "./travelling-caches.ts";
import { HistoryCache } from "./history-cache.ts";
import { exportImage, parseTags } from "./export-image.ts";
import { walkStages, type WalkedStages } from "./walk-stages.ts";
import { WhyStore } from "./why-store.ts";
import type { Solved, WorkContext } from "./work-context.ts";

export interface BuildServices {
  readonly images: ImageStore;
  readonly snapshots: Snapshotter;
  readonly executor: Executor;
  readonly db: Database;
  readonly paths: Paths;
  /** What the cache may hold after a build; absent: 20 GiB. */
  readonly cacheBudgetBytes?: number;
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
    const platforms = severalPlatforms(request.frontend.platform);
    if (platforms.length > 0) return this.#buildPlatforms(request, platforms, { progress, signal, materials });
    const startedMs = Date.now();
    // Until an image names them: a layer of --link has no record of its own.
    using hold = this.services.images.hold("build");
    try {
      const loaded = await loadDockerfile(request.session, request.frontend.fileName);
      progress.tell({ type: "source", source: { name: loaded.name, text: loaded.text } });
      const dockerfile = parseDockerfile(loaded.text, { fileName: loaded.name });
      for (const warning of dockerfile.warnings) progress.tell({ type: "line", text: `${warning}\n` });
      const images = await this.#resolveImages(dockerfile, { request, progress, signal });
      const { frontend: options, entitlements } = request;
      const plan = createGraph({ dockerfile, options, images, exclude: loaded.exclude, entitlements });
      const warnings = buildWarnings(dockerfile, { frontend: options, images, exclude: loaded.exclude });
      if (warnings && options.ofSeveral?.isFirst !== false) progress.tell({ type: "status", status: warnings });
      const walked = await this.#walkOrAgain(plan, { request, progress, signal, materials, hold });
      return await this.#result(request, { plan, walked, images, loaded, startedMs, progress, materials, signal });
    } catch (error) {
      throw signal.aborted ? cancelled() : error;
    } finally {
      this.cache.flush();
      // What a build that failed left is as good as any cache. Where the disk does not take it, it is dropped with the power.
      await this.services.images.sync().catch(() => undefined);
      await this.services.executor.settled();
      await this.#trim();
    }
  }

  async #buildPlatforms(
    request: BuildRequest,
    platforms: readonly string[],
    { progress, signal, materials }: { progress: BuildProgress; signal: AbortSignal; materials: ContextOrigin[] },
  ): Promise<BuildResult> {
    const names = parseTags(request.tags).map(familiarString);
    const result = await buildPlatforms(request, platforms, {
      signal,
      buildOne: (one, ended) => this.#buildHere(one, { progress, signal: ended, materials: [...materials] }),
    });
    // Without a name, the exporters that follow make what holds them together.
    if (request.withoutImage || names.length === 0) return result;
    const ids = (result.platforms ?? []).flatMap(({ imageId }) => imageId ?? []);
    return { ...result, index: await this.services.images.createIndex(ids, { names, signal }) };
  }

  /** Keeps the cache below its budget. */
  async #trim(): Promise<void> {
    const { images, snapshots, cacheBudgetBytes: keepBytes = cacheBudgetBytes } = this.services;
    const { cache, cacheMounts } = this;
    const mountBytes = cacheMounts.list().reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    if (cache.sizeBytes() + mountBytes <= keepBytes) return;
    await pruneCache({ cache, cacheMounts, images, snapshots }, { all: true, filters: new Map(), keepBytes });
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
        missing.map(async (key): Promise<readonly [string, BaseImage]> => {
          const { reference, platform } = parseImageKey(key);
          const onProgress = (text: string): void => progress.tell({ type: "line", text: `${text}\n` });
          const pull = frontend.pull;
          const { executor } = this.services;
          const found = isLayout(reference)
            ? layoutImage(this.services.images, reference, { session, platform, signal })
            : executor.resolveBase(reference, { pull, platform, session, signal, onProgress });
          const image = await found.catch((error: unknown) => {
            throw withNearestStage(error, reference, dockerfile.stages);
          });
          const layers = image.layers.map(({ chainId }) => chainId);
          return [key, { reference, imageId: image.id, layers, config: image.config }];
        }),
      );
      for (const [key, image] of found) images.set(key, image);
    }
  }

  /** A cache from elsewhere that proves to be another than it said is left out, and what it stood for is done here. */
  async #walkOrAgain(plan: BuildPlan, asked: Omit<Walking, "imports" | "failed">): Promise<Walked> {
    const { request, progress, signal } = asked;
    const { session, cacheFrom = [] } = request;
    const { executor } = this.services;
    // An image that is here serves by its history.
    const isHere = ({ reference }: { reference: string }): boolean =>
      request.dialect === "classic" && this.services.images.find(reference) !== undefined;
    const sources = cacheFrom.filter((source) => source.type !== "registry" || !isHere(source));
    let imports = await importCaches(sources, { executor, session, progress, signal });
    for (;;) {
      const failed: FailedImport = {};
      try {
        return await this.#walk(plan, { ...asked, imports, failed });
      } catch (error) {
        const { cache, error: cause } = failed;
        if (!cache || !cause || signal.aborted) throw error;
        tellUnusable(progress, { name: cache.name, error: cause });
        imports = imports.filter((one) => one !== cache);
      }
    }
  }

  async #walk(plan: BuildPlan, walking: Walking): Promise<Walked> {
    const { request, progress, signal, materials, hold, imports, failed } = walking;
    const { images, snapshots, executor, paths } = this.services;
    const { cache, cacheMounts } = this;
    const { session, frontend, cacheTo = [] } = request;
    let worker: OperationWorker | undefined;
    const solver = new Solver<Solved>(plan.nodes, async (node) => worker!.work(node), { signal });
    const layers = new LazyLayers({ images, snapshots, hold, signal: solver.signal }, { imports, failed });
    const histories = new HistoryCache((request.cacheImages ?? []).flatMap((name) => images.find(name) ?? []));
    const used = new Map<string, CacheRecord>();
    const sources = { session, snapshots, cache, layers, http: this.#http, git: this.#git, paths };
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
      layers,
      histories,
      used,
      trees,
      progress,
      session,
      limits: frontend.limits,
      epoch,
      keepFailed: request.debug ? (step) => imageOfFailedStep(this.services, step) : undefined,
      solver,
      signal: solver.signal,
    };
    worker = new OperationWorker(context);
    progress.tell({ type: "stages", stages: plan.stages.map(({ index }) => index) });
    for (const [index, title] of plan.metaTitles.entries()) {
      progress.tell({ type: "line", text: `Step ${index + 1}/${plan.total} : ${title}\n` });
    }
    const makers = { images, snapshots, cache, layers, histories, epoch };
    const { dialect } = request;
    try {
      const walked = await walkStages({ plan, solver, makers, progress, dialect });
      // What is to be written elsewhere must be here whole, whatever the result needs of it.
      const isWhole = cacheTo.some((target) => target.type !== "inline" && target.mode === "max");
      if (isWhole) for (const { top } of used.values()) await layers.need(top === "" ? undefined : top);
      return { ...walked, used };
    } catch (error) {
      // What failed first is what tells why, not what it ended.
      await solver.settle();
      throw error;
    } finally {
      for (const record of layers.arrived()) cache.put(record);
    }
  }

  async #result(
    request: BuildRequest,
    done: {
      plan: BuildPlan;
      walked: Walked;
      images: ReadonlyMap<string, BaseImage>;
      loaded: LoadedDockerfile;
      startedMs: number;
      signal: AbortSignal;
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
    const layers = layersOf(this.services.snapshots, end.top);
    const keep = { used: walked.used, layers };
    const { cacheTo = [], dialect } = request;
    const isInline = cacheTo.some(({ type }) => type === "inline") && dialect === "buildkit";
    const result: BuildResult = {
      imageId: end.imageId === "" ? undefined : end.imageId,
      config: isInline ? { ...end.config, ...inlineCache(this.cache, keep) } : end.config,
      layers,
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
    const isImage = dialect === "classic" || request.withoutImage !== true;
    const exported = isImage ? await exportImage(this.services, result, { tags: request.tags }) : result;
    const { imageId } = exported;
    const attestations = await this.#attest(request, { result: exported, plan });
    this.why.record(request, { loaded, outcomes: walked.outcomes, imageId, reasons });
    const cacheManifest = await this.#exportCaches(request, { keep, progress, signal: done.signal });
    return { ...exported, attestations, cacheManifest };
  }

  #exportCaches(
    { cacheTo = [], session }: BuildRequest,
    { keep, progress, signal }: { keep: Keepable; progress: BuildProgress; signal: AbortSignal },
  ): Promise<Descriptor | undefined> {
    const { images, executor, snapshots } = this.services;
    const chain = (top: string): readonly Layer[] => snapshots.chain(top).toReversed();
    const travel = { images, executor, session, progress, signal };
    return exportCaches(cacheTo, { ...travel, keep, cache: this.cache, chain });
  }

  async #attest(
    { frontend, session, tags, signal }: BuildRequest,
    { result, plan }: { result: BuildResult; plan: BuildPlan },
  ): Promise<AttestedPredicate[]> {
    const { images } = this.services;
    if (!frontend.attest) return [];
    const context = session instanceof RemoteSession ? session.origin : undefined;
    const build = provenanceBuild(plan.nodes.values(), context);
    const epoch = frontend.sourceDateEpoch;
    const createdAt = epoch === undefined ? new Date() : new Date(epoch * 1000);
    const name = tags[0];
    const all = await attestResult(this.services, result, {
      options: frontend.attest,
      build,
      name,
      createdAt,
      signal,
    });
    if (result.imageId !== undefined) for (const attested of all) await images.attest(result.imageId, attested);
    return all;
  }
}

interface Walking {
  readonly request: BuildRequest;
  readonly progress: BuildProgress;
  readonly signal: AbortSignal;
  readonly materials: ContextOrigin[];
  readonly hold: LayerHold;
  readonly imports: readonly ImportedCache[];
  /** Gets the cache that did not hold what it said. */
  readonly failed: FailedImport;
}

type Walked = WalkedStages & Pick<Keepable, "used">;

/** Secrets of commands that ran when a former engine was killed. */
function removeLeftovers({ run }: Paths): void {
  if (!existsSync(run)) return;
  for (const name of readdirSync(run)) {
    if (/^build-[0-9a-f]{16}$/.test(name)) rmSync(join(run, name), { recursive: true, force: true });
  }
}
