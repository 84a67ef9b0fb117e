import { EngineError } from "../../common/index.ts";
import type { BuildJob, JobResult } from "./build-job.ts";
import { enabled, frontendCapabilities, graphCapabilities } from "./capabilities.ts";
import { ClientSession } from "./client-session.ts";
import type { BuildServices } from "./control-service.ts";
import { containerMethods, gatewayMethods as methods, type GatewayResult } from "./gateway-messages.ts";
import { imageDefinition } from "./graph-messages.ts";
import { unary, type GrpcCall, type GrpcMethods } from "./grpc-server.ts";
import { errorOf } from "./grpc-status.ts";
import { sourceMetadata } from "./source-metadata.ts";
import { resultFiles } from "./result-files.ts";
import { solveFrontend } from "./solve-build.ts";
import { cacheSources } from "./solve-request.ts";
import { statusWith } from "./status-records.ts";
import { worker } from "./worker.ts";

/**
 * moby.buildkit.v1.frontend.LLBBridge: a client that drives its build itself. Its Control.Solve has an empty frontend; it asks here
 * for solves, looks at their results, and returns one of them, which that Solve then exports.
 */
export function gatewayService(services: BuildServices): GrpcMethods {
  const job = (call: GrpcCall): Promise<BuildJob> =>
    services.jobs.find(String(call.headers["buildkit-controlapi-buildid"] ?? ""));
  const refused = containerMethods.map((path) => [path, refuse(path, "containers of a build's client are")] as const);
  return {
    ...Object.fromEntries(refused),
    ...resultFiles(services.engine, job),
    ...sourceMetadata(services, job),
    [methods.ping.path]: unary(methods.ping, async (_, call) => {
      await job(call);
      return {
        frontendApiCaps: enabled(frontendCapabilities),
        llbCaps: enabled(graphCapabilities),
        workers: [await worker(services.engine)],
      };
    }),
    [methods.solve.path]: unary(methods.solve, async (request, call) => {
      const current = await job(call);
      if (request.frontend === "" && (request.definition?.def.length ?? 0) === 0) return { result: resultOf("") };
      const session = new ClientSession(await services.sessions.find(current.sessionId, call.signal), services.session);
      const built = await solveFrontend(
        {
          frontend: request.frontend,
          attributes: request.frontendOpt,
          definition: request.definition,
          inputs: request.frontendInputs,
          entitlements: current.entitlements,
          cacheFrom: cacheSources(request.cacheImports),
        },
        {
          engine: services.engine,
          session,
          job: current,
          signal: AbortSignal.any([call.signal, current.signal]),
          temporary: services.session.runFolder,
        },
      );
      // An answer without files has no reference: clients would ask for its graph.
      const id = request.allowResultReturn && !built.exported ? "" : current.keep(built);
      return request.allowResultReturn ? { result: { ...resultOf(id, built), metadata: built.metadata } } : { ref: id };
    }),
    [methods.evaluate.path]: unary(methods.evaluate, async ({ ref }, call) => {
      // Solves are evaluated at once here, so that a result is all there is to look for.
      if (ref !== "") (await job(call)).result(ref);
      return {};
    }),
    [methods.inputs.path]: unary(methods.inputs, async (_, call) => {
      return { definitions: (await job(call)).inputs };
    }),
    [methods.warn.path]: unary(methods.warn, async ({ digest, level, short, detail, url }, call) => {
      const warning = { vertex: digest, level, url, file: "", range: [] };
      const texts = {
        short: Buffer.from(short).toString(),
        detail: detail.map((line) => Buffer.from(line).toString()),
      };
      (await job(call)).tell(statusWith({ warnings: [{ ...warning, ...texts }] }));
      return {};
    }),
    [methods.return.path]: unary(methods.return, async ({ result, error }, call) => {
      const current = await job(call);
      if (error && error.code !== 0) current.fail(errorOf({ ...error, message: withoutCode(error.message) }));
      else current.return(returned(current, result));
      return {};
    }),
  };
}

/** Older clients send our status back with its code in words in front, and would show it twice. */
function withoutCode(message: string): string {
  return message.replace(/^(?:Unimplemented|InvalidArgument|NotFound|Unavailable|FailedPrecondition|Canceled): /, "");
}

function refuse(path: string, what: string): GrpcMethods[string] {
  return () => {
    throw new EngineError("unsupported", `${path.split("/").at(-1)}: ${what} not built yet`);
  };
}

/** An empty reference stands for an empty result. With a graph of it the client may start another build there. */
function resultOf(id: string, built?: JobResult): GatewayResult {
  const imageId = built?.exported?.imageId;
  const def = imageId === undefined ? undefined : imageDefinition(imageId);
  const ref = id === "" ? undefined : { id, def };
  return { refDeprecated: "", ref, refs: undefined, metadata: new Map() };
}

function returned(job: BuildJob, result: GatewayResult | undefined): JobResult {
  const many = [...(result?.refs?.refs.values() ?? [])];
  if (many.length > 1) throw new EngineError("unsupported", "A result for more than one platform is not built yet");
  const id = result?.ref?.id || result?.refDeprecated || many[0]?.id || "";
  return id === "" ? { exported: undefined, metadata: result?.metadata ?? new Map() } : job.result(id);
}
