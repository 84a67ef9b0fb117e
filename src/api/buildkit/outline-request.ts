import {
  frontendOptions,
  loadDockerfile,
  outlineDockerfile,
  type BuildOutline,
  type BuildSession,
} from "../../build/index.ts";
import { encodeMetadata } from "./lint-request.ts";
import type { JobResult } from "./build-job.ts";

/** The version of these answers that this frontend has (moby/buildkit, frontend/subrequests/outline and targets). */
const answerVersion = "1.0.0";

/** `requestid=frontend.outline`: what a build of the target takes. */
export async function outlineRequest(
  attributes: Readonly<Record<string, string>>,
  { session }: { session: BuildSession },
): Promise<JobResult> {
  const { text, outline } = await read(attributes, session);
  const target = outline.targets[outline.target];
  const { args, secrets, ssh } = outline;
  const result = {
    ...(target?.name ? { name: target.name } : {}),
    ...(target?.description ? { description: target.description } : {}),
    ...(args.length > 0 ? { args: args.map(({ line, ...one }) => ({ ...one, location: locationOf(line) })) } : {}),
    ...(secrets.length > 0 ? { secrets: secrets.map(located) } : {}),
    ...(ssh.length > 0 ? { ssh: ssh.map(located) } : {}),
    sources: [btoa(text)],
  };
  return answer(result, outlineText(outline));
}

/** `requestid=frontend.targets`: the stages that can be built. */
export async function targetsRequest(
  attributes: Readonly<Record<string, string>>,
  { session }: { session: BuildSession },
): Promise<JobResult> {
  const { text, outline } = await read(attributes, session);
  const targets = outline.targets.map(({ line, ...target }) => ({ ...target, location: locationOf(line) }));
  const lines = outline.targets.map(({ name = "", description = "", default: isDefault }) =>
    `${(name + (isDefault ? " (default)" : "")).padEnd(24)} ${description}`.trimEnd(),
  );
  return answer({ targets, sources: [btoa(text)] }, `${["TARGET".padEnd(24) + " DESCRIPTION", ...lines].join("\n")}\n`);
}

async function read(
  attributes: Readonly<Record<string, string>>,
  session: BuildSession,
): Promise<{ text: string; outline: BuildOutline }> {
  const options = frontendOptions(attributes);
  const { name, text } = await loadDockerfile(session, options.fileName);
  const bytes = Buffer.from(text).toString("latin1");
  return { text: bytes, outline: outlineDockerfile({ name, text }, options) };
}

function answer(result: unknown, text: string): JobResult {
  const metadata = { "result.json": JSON.stringify(result, undefined, 2), "result.txt": text, version: answerVersion };
  return { exported: undefined, metadata: encodeMetadata(metadata) };
}

function outlineText({ args, secrets, ssh }: BuildOutline): string {
  const section = (title: string, rows: readonly string[]): string =>
    rows.length === 0 ? "" : `${title}\n${rows.map((row) => row.trimEnd()).join("\n")}\n\n`;
  const required = ({ name, required: isRequired }: { name: string; required?: boolean }): string =>
    `${name.padEnd(24)} ${isRequired ? "true" : "false"}`;
  return [
    section(
      `${"BUILD ARG".padEnd(24)} ${"VALUE".padEnd(16)} DESCRIPTION`,
      args.map(({ name, value = "", description = "" }) => `${name.padEnd(24)} ${value.padEnd(16)} ${description}`),
    ),
    section(`${"SECRET".padEnd(24)} REQUIRED`, secrets.map(required)),
    section(`${"SSH".padEnd(24)} REQUIRED`, ssh.map(required)),
  ].join("");
}

function located<Entry extends { line: number }>({
  line,
  ...entry
}: Entry): Omit<Entry, "line"> & { location: unknown } {
  return { ...entry, location: locationOf(line) };
}

function locationOf(line: number): unknown {
  const at = { line, character: 0 };
  return { ranges: [{ start: at, end: at }] };
}
