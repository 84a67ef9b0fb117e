import { type ApiClient, readJsonLines } from "../api/client/index.ts";
import type { ProgressMessage } from "../spec/index.ts";
import type { Flag, Invocation } from "./command.ts";
import { printLine } from "./output.ts";
import { showProgress } from "./progress.ts";
import { authHeader } from "./registry-credentials.ts";
import { CommandFailure } from "./usage-error.ts";

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

export const quietFlag: Flag = { name: "quiet", short: "q", kind: "bool", description: "Suppress verbose output" };

/** What a pull or push of one argument means: with `--all-tags` the bare name, else one with a tag or digest, which is told when it was added. */
export function nameWanted({ flags, args }: Pick<Invocation, "flags" | "args">): string {
  const [given = ""] = args;
  if (flags.bool("all-tags")) {
    if (splitName(given).tag !== undefined) throw new CommandFailure("tag can't be used with --all-tags/-a");
    return given;
  }
  const name = withDefaultTag(given);
  if (name !== given && !flags.bool("quiet")) printLine("Using default tag: latest");
  return name;
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
