import type { BuildRequest, BuildResult, ClassicBuildRequest } from "../../build/index.ts";
import { EngineError } from "../../common/index.ts";
import type { ProgressMessage } from "../../spec/index.ts";
import { buildError, type BuildSource } from "./build-error.ts";
import { ClientSession } from "./client-session.ts";
import { statusResponse } from "./control-messages.ts";
import type { BuildServices } from "./control-service.ts";
import { BuildJob } from "./build-job.ts";
import { exportOutputs } from "./export-outputs.ts";
import type { Output } from "./solve-request.ts";
import { encodeStatus } from "./status-records.ts";

/** `POST /build` whose context the client holds: the same options, with a session where the tar was. */
export interface SessionBuild {
  readonly sessionId: string;
  /** The name by which `POST /build/cancel` knows it; "" for none. */
  readonly buildId: string;
  /** 1: the classic builder's text. 2: records of progress. */
  readonly version: 1 | 2;
  readonly options: Omit<ClassicBuildRequest, "context" | "credentials">;
  /** Where the result goes beside the engine's own images; of version 2. */
  readonly outputs: readonly Output[];
}

/** The builds of `POST /build` that have a session. */
export class SessionBuilds {
  readonly #cancels = new Map<string, AbortController>();

  constructor(private readonly services: BuildServices) {}

  async *build({ sessionId, buildId, version, options, outputs }: SessionBuild): AsyncGenerator<ProgressMessage> {
    const cancel = new AbortController();
    const signal = options.signal ? AbortSignal.any([options.signal, cancel.signal]) : cancel.signal;
    const { sessions, engine } = this.services;
    if (buildId !== "" && this.#cancels.has(buildId)) {
      throw new EngineError("alreadyExists", `build "${buildId}" is under way already`);
    }
    const session = new ClientSession(await sessions.find(sessionId, signal), this.services.session);
    if (buildId !== "") this.#cancels.set(buildId, cancel);
    try {
      if (version === 1) yield* engine.builds.buildFrom(session, { ...options, signal });
      else yield* this.#records({ ...options, session, signal, dialect: "buildkit" }, { session, outputs });
    } finally {
      this.#cancels.delete(buildId);
    }
  }

  /** Throws notFound for a build that is not under way. */
  cancel(buildId: string): void {
    const cancel = this.#cancels.get(buildId);
    if (!cancel) throw new EngineError("notFound", `no build "${buildId}" is under way`);
    cancel.abort();
  }

  async *#records(
    request: BuildRequest,
    { session, outputs }: { session: ClientSession; outputs: readonly Output[] },
  ): AsyncGenerator<ProgressMessage> {
    const events = this.services.engine.builds.solve(request);
    let source: BuildSource | undefined;
    const next = async (): Promise<Awaited<ReturnType<(typeof events)["next"]>>> =>
      events.next().catch((error: unknown) => Promise.reject(buildError(error, source)));
    for (;;) {
      const { done, value } = await next();
      if (done) return yield* this.#exported(value, { outputs, session, signal: request.signal });
      if (value.type === "source") ({ source } = value);
      if (value.type !== "status") continue;
      yield record(statusResponse.encode(encodeStatus(value.status, source)));
    }
  }

  /** Hands a result over, and tells what buildx writes into `--metadata-file`. */
  async *#exported(
    result: BuildResult,
    {
      outputs,
      session,
      signal,
    }: { outputs: readonly Output[]; session: ClientSession; signal: AbortSignal | undefined },
  ): AsyncGenerator<ProgressMessage> {
    const { cacheManifest, index, platforms } = result;
    // The images of several platforms are known by their index.
    const imageId = platforms ? undefined : result.imageId;
    const job = new BuildJob(crypto.randomUUID(), "", signal ?? new AbortController().signal);
    const { engine } = this.services;
    const exported = exportOutputs(result, outputs, { engine, job, session: async () => session });
    const ended = exported.finally(() => job.end());
    ended.catch(() => {});
    for await (const status of job.progress(job.signal)) yield record(statusResponse.encode(encodeStatus(status)));
    const answers = await ended;
    if (index) answers.set("containerimage.digest", answers.get("containerimage.digest") ?? index.digest);
    if (imageId !== undefined) answers.set("containerimage.config.digest", imageId);
    if (cacheManifest) answers.set("cache.manifest", JSON.stringify(cacheManifest));
    const id = imageId ?? answers.get("containerimage.config.digest") ?? answers.get("containerimage.digest");
    if (id !== undefined) yield { id: "moby.image.id", aux: { ID: id } };
    yield { id: "vitrine.build.result", aux: Object.fromEntries(answers) };
  }
}

function record(bytes: Uint8Array): ProgressMessage {
  return { id: "moby.buildkit.trace", aux: Buffer.from(bytes).toString("base64") };
}
