import { frontendOptions, loadDockerfile, type BuildSession } from "../../build/index.ts";
import type { Engine } from "../../engine/index.ts";
import type { JobResult } from "./build-job.ts";

/** The version of the answer that this frontend has (moby/buildkit, frontend/subrequests/lint). */
const lintVersion = "1.0.0";

/** `requestid=frontend.lint`: what the checks say of the client's Dockerfile, and no image. Buildx prints it for `build --check`. */
export async function lintRequest(
  attributes: Readonly<Record<string, string>>,
  { engine, session }: { engine: Engine; session: BuildSession },
): Promise<JobResult> {
  const { fileName, target, arguments: given } = frontendOptions(attributes);
  const { name, text, exclude } = await loadDockerfile(session, fileName);
  const ignore = exclude.length > 0 ? exclude.join("\n") : undefined;
  const request = { fileName: name, dockerfile: text, ignore, target, arguments: given };
  const { results, text: findings, statusCode } = engine.checkBuild(request);
  const metadata = {
    "result.json": JSON.stringify(results, undefined, 2),
    "result.txt": findings,
    "result.statuscode": String(statusCode),
    version: lintVersion,
  };
  return { exported: undefined, metadata: encodeMetadata(metadata) };
}

/** What a frontend says beside a result, as the protocol has it. */
export function encodeMetadata(metadata: Readonly<Record<string, string>>): Map<string, Uint8Array> {
  return new Map(Object.entries(metadata).map(([key, value]) => [key, new TextEncoder().encode(value)]));
}
