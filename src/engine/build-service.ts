import type { Database } from "bun:sqlite";
import {
  build,
  Builder,
  exportResult,
  openExportedTree,
  pruneCache,
  pruneFilters,
  renderClassic,
  cacheUsage,
  filterUsage,
  type BuildEvent,
  type BuildRequest,
  type BuildResult,
  type BuildSession,
  type ClassicBuildRequest,
  type Exported,
  type ExportRequest,
  type PruneOptions,
  type StepReason,
} from "../build/index.ts";
import { EngineError } from "../common/index.ts";
import { parseReference, withDefaultTag, type CacheUsage, type ProgressMessage } from "../spec/index.ts";
import { findImage } from "./container-creation.ts";
import type { Core } from "./core.ts";
import { keepFailedStep } from "./failed-step.ts";
import { imageUsers } from "./image-users.ts";
import { requireKnownFilters } from "./known-filters.ts";
import { publishPrune } from "./prune-event.ts";
import { StepExecutor } from "./step-executor.ts";
import type { BuildImage, RegistryService } from "./contract.ts";

/** Builds of this engine and their cache. */
export class EngineBuilds {
  readonly #core: Core;
  readonly #builder: Builder;
  readonly #executor: StepExecutor;

  /** `db`: a connection that does not wait for the disk; a power cut may cost the last of the cache, and nothing else. */
  constructor(core: Core, registries: RegistryService, db: Database) {
    this.#core = core;
    const { images, snapshots, paths } = core;
    this.#executor = new StepExecutor(core, registries);
    const { buildCacheBytes } = core.options;
    const budget = buildCacheBytes === undefined ? {} : { cacheBudgetBytes: buildCacheBytes };
    this.#builder = new Builder({ images, snapshots, paths, db, executor: this.#executor, ...budget });
  }

  /** A build as the classic endpoint tells it. */
  build(request: ClassicBuildRequest): AsyncGenerator<ProgressMessage> {
    return this.#open(build(this.#builder, request), request);
  }

  /** The same of a session's folders. */
  buildFrom(
    session: BuildSession,
    request: Omit<ClassicBuildRequest, "context" | "credentials">,
  ): AsyncGenerator<ProgressMessage> {
    return this.#open(renderClassic(this.#builder, { ...request, session, dialect: "classic" }, request), request);
  }

  #open(
    messages: AsyncGenerator<ProgressMessage>,
    { debug, signal }: Pick<BuildRequest, "debug" | "signal">,
  ): AsyncGenerator<ProgressMessage> {
    return debug ? keepFailedStep(this.#core, messages, signal) : messages;
  }

  /** A build as events; the generator returns what it left. */
  solve(request: BuildRequest): AsyncGenerator<BuildEvent, BuildResult> {
    return this.#builder.solve(request);
  }

  /** The image of a FROM, pulled where it is missing, or with `pull`. Throws as a build's FROM does. */
  async resolveImage(
    reference: string,
    options: { session: BuildSession; pull: boolean; signal: AbortSignal },
  ): Promise<BuildImage> {
    const image = await this.#executor.resolveBase(reference, { ...options, onProgress: () => {} });
    const digests = image.repoDigests.map((name) => name.slice(name.indexOf("@") + 1));
    const { config, id } = image;
    const isId = /^(sha256:)?[0-9a-f]{64}$/.test(reference);
    const { domain, path, tag, digest } = withDefaultTag(parseReference(isId ? "image" : reference));
    const name = isId ? id : `${domain}/${path}${digest === undefined ? `:${tag}` : `@${digest}`}`;
    return { name, digest: digests[0] ?? id, config };
  }

  export(result: Exported, request: ExportRequest): Promise<ReadonlyMap<string, string>> {
    return exportResult(this.#core, result, request);
  }

  openTree(
    result: Exported,
    request: Pick<ExportRequest, "options" | "attestations">,
  ): Promise<AsyncDisposable & { readonly root: string }> {
    return openExportedTree(this.#core, result, request);
  }

  /** Why each step of the build that ended in an image was cached or not. */
  async why(reference: string): Promise<readonly StepReason[]> {
    const image = await findImage(this.#core, reference);
    const reasons = this.#builder.why.reasonsOf(image.id);
    if (reasons) return reasons;
    throw new EngineError("notFound", `The image "${reference}" was not built here, or too long ago`);
  }

  usage(filters: PruneOptions["filters"] = new Map()): CacheUsage[] {
    requireKnownFilters(filters, pruneFilters);
    return filterUsage(cacheUsage(this.#parts), filters);
  }

  /** Images of steps that have no name and that nothing stands on go first, then what the cache keeps beside images. */
  async prune(options: PruneOptions): Promise<{ deleted: string[]; spaceReclaimed: number }> {
    // `system prune --filter label=…` asks here too: what builds keep has no labels, and none of it is meant.
    if (options.filters.has("label") || options.filters.has("label!")) return { deleted: [], spaceReclaimed: 0 };
    requireKnownFilters(options.filters, pruneFilters);
    const { cache } = this.#builder;
    const { images } = this.#core;
    const built = cache.imageIds();
    const until = options.filters.get("until");
    const onlyByTime = [...options.filters.keys()].every((name) => name === "until") && options.keepBytes === undefined;
    const pruned = onlyByTime
      ? await images.prune(new Map([["dangling", ["true"]], ...(until ? [["until", until] as const] : [])]), {
          usedBy: imageUsers(this.#core),
          among: (id) => built.has(id),
        })
      : { deleted: [], spaceReclaimed: 0 };
    const forgotten = await pruneCache(this.#parts, options);
    const spaceReclaimed = pruned.spaceReclaimed + forgotten.spaceReclaimed;
    publishPrune(this.#core, "builder", spaceReclaimed);
    const removed = pruned.deleted.flatMap((item) => ("Deleted" in item ? [item.Deleted] : []));
    return { deleted: [...removed, ...forgotten.deleted], spaceReclaimed };
  }

  get #parts(): Parameters<typeof pruneCache>[0] {
    const { images, snapshots } = this.#core;
    const { cache, cacheMounts } = this.#builder;
    return { cache, cacheMounts, images, snapshots };
  }
}
