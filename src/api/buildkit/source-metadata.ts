import { EngineError } from "../../common/index.ts";
import type { BuildImage } from "../../engine/index.ts";
import type { BuildJob } from "./build-job.ts";
import { ClientSession } from "./client-session.ts";
import type { BuildServices } from "./control-service.ts";
import { gatewayMethods as methods } from "./gateway-messages.ts";
import { targetOf } from "./graph-messages.ts";
import { unary, type GrpcCall, type GrpcMethods } from "./grpc-server.ts";

/** What a source is, before anything is made of it: an image's config and digest, with the client's passwords where it is not here. */
export function sourceMetadata(services: BuildServices, job: (call: GrpcCall) => Promise<BuildJob>): GrpcMethods {
  const resolve = async (reference: string, resolveMode: string, call: GrpcCall): Promise<BuildImage> => {
    const { sessionId, signal } = await job(call);
    const session = new ClientSession(await services.sessions.find(sessionId, call.signal), services.session);
    const aborted = AbortSignal.any([call.signal, signal]);
    return services.engine.builds.resolveImage(reference, { session, pull: resolveMode === "pull", signal: aborted });
  };
  return {
    [methods.resolveImageConfig.path]: unary(methods.resolveImageConfig, async (request, call) => {
      const { ref, resolveMode, platform } = request;
      checkPlatform(platform);
      const { name, digest, config } = await resolve(ref, resolveMode, call);
      return { ref: name, digest, config: Buffer.from(JSON.stringify(config)) };
    }),
    [methods.resolveSourceMeta.path]: unary(methods.resolveSourceMeta, async (request, call) => {
      const { source, resolveMode, platform } = request;
      if (!source) throw new EngineError("invalidArgument", "The request names no source");
      const target = targetOf(source);
      const reference = /^docker-image:\/\/(.+)$/s.exec(target)?.[1];
      // Folders, repositories and files of the web have nothing to tell before they are fetched.
      if (reference === undefined) return { source };
      checkPlatform(platform);
      const { digest, config } = await resolve(
        reference,
        resolveMode || source.attrs.get("image.resolvemode") || "",
        call,
      );
      return { source, image: { digest, config: Buffer.from(JSON.stringify(config)) } };
    }),
  };
}

function checkPlatform(platform: { os: string; architecture: string } | undefined): void {
  const here = process.arch === "arm64" ? "arm64" : "amd64";
  if (!platform || platform.os === "") return;
  if (platform.os === "linux" && (platform.architecture === "" || platform.architecture === here)) return;
  throw new EngineError("unsupported", `images for "${platform.os}/${platform.architecture}" are not built here`);
}
