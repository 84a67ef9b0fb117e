import { Duplex } from "node:stream";
import type { CacheSource, CacheTarget } from "../../build/index.ts";
import { EngineError } from "../../common/index.ts";
import type { Engine } from "../../engine/index.ts";
import { BuildJob, type BuildJobs, type JobResult } from "./build-job.ts";
import type { BuildHistory } from "./build-history.ts";
import { ClientSession, type ClientSessionOptions } from "./client-session.ts";
import { controlMethods as methods, type SolveRequest } from "./control-messages.ts";
import { exportOutputs } from "./export-outputs.ts";
import { bothStreaming, serverStreaming, unary, type GrpcCall, type GrpcMethods } from "./grpc-server.ts";
import type { SessionRegistry } from "./session-registry.ts";
import { solveFrontend } from "./solve-build.ts";
import { cachesOf, outputsOf } from "./solve-request.ts";
import { encodeStatus } from "./status-records.ts";
import { worker } from "./worker.ts";

export interface BuildServices {
  readonly engine: Engine;
  readonly jobs: BuildJobs;
  readonly history: BuildHistory;
  readonly sessions: SessionRegistry;
  readonly session: ClientSessionOptions;
}

/** moby.buildkit.v1.Control. What is not built answers Unimplemented, by name. */
export function controlService(services: BuildServices): GrpcMethods {
  return {
    [methods.solve.path]: unary(methods.solve, async (request, call) => ({
      exporterResponse: await solve(request, { services, call }),
    })),
    [methods.status.path]: serverStreaming(methods.status, async function* ({ ref }, call) {
      const past = services.jobs.has(ref) ? undefined : services.history.progress(ref);
      if (past) return yield* past;
      const job = await services.jobs.find(ref);
      for await (const status of job.progress(call.signal)) yield encodeStatus(status, job.source);
    }),
    [methods.listWorkers.path]: unary(methods.listWorkers, async ({ filter }) => {
      if (filter.length > 0)
        throw new EngineError("unsupported", `worker filter "${filter.join('", "')}" is not built`);
      return { record: [await worker(services.engine)] };
    }),
    [methods.info.path]: unary(methods.info, async () => ({
      buildkitVersion: (await worker(services.engine)).buildkitVersion,
    })),
    [methods.session.path]: bothStreaming(methods.session, (pieces, call) => tunnel(pieces, { services, call })),
  };
}

async function solve(
  request: SolveRequest,
  { services, call }: { services: BuildServices; call: GrpcCall },
): Promise<Map<string, string>> {
  const job = new BuildJob(request.ref, request.session, call.signal);
  using _ = services.jobs.add(job);
  const entry = services.history.begin(request);
  job.onStatus = (status) => entry.tell(encodeStatus(status, job.source));
  try {
    const response = await solveJob(request, { services, job });
    entry.end({ response });
    return response;
  } catch (error) {
    entry.end({ error });
    throw error;
  }
}

async function solveJob(
  request: SolveRequest,
  { services, job }: { services: BuildServices; job: BuildJob },
): Promise<Map<string, string>> {
  const outputs = outputsOf(request);
  const { cacheFrom, cacheTo } = cachesOf(request.cache);
  job.keepCacheIn(inlineWhereAsked(request, cacheTo));
  job.allow(request.entitlements);
  job.inputs = request.frontendInputs;
  const result =
    request.frontend === "" && (request.definition?.def.length ?? 0) === 0
      ? await job.returned()
      : await solveDirectly(request, { services, job, cacheFrom });
  const session = async (): Promise<ClientSession> =>
    new ClientSession(await services.sessions.find(request.session, job.signal), services.session);
  // An answer to a question about the Dockerfile is no image, and older clients name an output all the same.
  if (!result.exported && result.metadata.has("result.json")) return new Map();
  const answers = await exportOutputs(result.exported, outputs, { engine: services.engine, job, session });
  const manifest = result.exported?.cacheManifest;
  return manifest ? answers.set("cache.manifest", JSON.stringify(manifest)) : answers;
}

/** An older way to ask for an inline cache is a build argument. */
function inlineWhereAsked({ frontendAttrs }: SolveRequest, targets: readonly CacheTarget[]): readonly CacheTarget[] {
  const isAsked = ["1", "true"].includes(frontendAttrs.get("build-arg:BUILDKIT_INLINE_CACHE") ?? "");
  return isAsked && !targets.some(({ type }) => type === "inline") ? [...targets, { type: "inline" }] : targets;
}

async function solveDirectly(
  request: SolveRequest,
  { services, job, cacheFrom }: { services: BuildServices; job: BuildJob; cacheFrom: readonly CacheSource[] },
): Promise<JobResult> {
  const session = new ClientSession(await services.sessions.find(request.session, job.signal), services.session);
  return solveFrontend(
    {
      frontend: request.frontend,
      attributes: request.frontendAttrs,
      definition: request.definition,
      inputs: request.frontendInputs,
      entitlements: request.entitlements,
      cacheFrom,
    },
    { engine: services.engine, session, job, signal: job.signal, temporary: services.session.runFolder },
  );
}

/** A session inside the call, for clients that do not use `POST /session`: its bytes are the messages' data. */
async function* tunnel(
  pieces: AsyncIterable<{ data: Uint8Array }>,
  { services, call }: { services: BuildServices; call: GrpcCall },
): AsyncGenerator<{ data: Uint8Array }> {
  const iterator = pieces[Symbol.asyncIterator]();
  const outgoing = new TransformQueue();
  const connection = new Duplex({
    read() {
      iterator.next().then(
        // The client's half-close is the end of its session: it waits for ours.
        ({ done, value }) => (done ? this.destroy() : this.push(value.data)),
        (error: Error) => this.destroy(error),
      );
    },
    write(chunk: Uint8Array, _encoding, done) {
      outgoing.push(chunk, done);
    },
    final(done) {
      outgoing.end();
      done();
    },
    destroy(_error, done) {
      outgoing.end();
      done(null);
    },
  });
  connection.on("error", () => {});
  call.signal.addEventListener("abort", () => connection.destroy(), { once: true });
  const { headers } = call;
  const methodsHeader = headers["x-docker-expose-session-grpc-method"];
  const attached = services.sessions.attach(
    {
      id: String(headers["x-docker-expose-session-uuid"] ?? ""),
      sharedKey: String(headers["x-docker-expose-session-sharedkey"] ?? ""),
      methods: Array.isArray(methodsHeader) ? methodsHeader : String(methodsHeader ?? "").split(/,\s*/),
    },
    connection,
  );
  attached.catch(() => connection.destroy());
  try {
    for await (const data of outgoing) yield { data };
    await attached;
  } finally {
    connection.destroy();
  }
}

/** Pieces that were written, each taken before the next is asked for. */
class TransformQueue {
  #pending: { chunk: Uint8Array; done: () => void } | undefined;
  #wake = Promise.withResolvers<void>();
  #ended = false;

  push(chunk: Uint8Array, done: () => void): void {
    this.#pending = { chunk, done };
    this.#wake.resolve();
  }

  end(): void {
    this.#ended = true;
    this.#wake.resolve();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    for (;;) {
      const pending = this.#pending;
      if (pending) {
        this.#pending = undefined;
        yield pending.chunk;
        pending.done();
        continue;
      }
      if (this.#ended) return;
      await this.#wake.promise;
      this.#wake = Promise.withResolvers();
    }
  }
}
