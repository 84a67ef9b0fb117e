import { type ApiClient, readJsonLines } from "../api/client/index.ts";
import type { ProgressMessage } from "../spec/index.ts";
import { showProgress } from "./progress.ts";
import { authHeader } from "./registry-credentials.ts";

export interface PullRequest {
  /** `app:v1` or `app@sha256:…`; `app` alone means every tag. */
  readonly name: string;
  readonly platform?: string | undefined;
  readonly quiet: boolean;
  readonly to?: "stdout" | "stderr";
}

/** Has the engine pull an image, and shows how it goes. */
export async function pullImage(engine: ApiClient, request: PullRequest): Promise<void> {
  const { repository, tag } = splitName(request.name);
  const answer = await engine.call("POST", "/images/create", {
    query: { fromImage: repository, tag, platform: request.platform },
    headers: await authHeader(request.name),
  });
  await showProgress(readJsonLines<ProgressMessage>(answer.body), { quiet: request.quiet, to: request.to ?? "stdout" });
}

/** The name with `:latest`, unless it has a tag or a digest. */
export function withDefaultTag(name: string): string {
  return splitName(name).tag === undefined ? `${name}:latest` : name;
}

/** The part that names a repository, and the tag or digest. */
export function splitName(name: string): { repository: string; tag: string | undefined } {
  const digest = name.indexOf("@");
  if (digest !== -1) return { repository: name.slice(0, digest).replace(/:[^/:]*$/, ""), tag: name.slice(digest + 1) };
  const [, repository = name, tag] = /^(.*?)(?::([^/:]*))?$/.exec(name) ?? [];
  return { repository, tag };
}
