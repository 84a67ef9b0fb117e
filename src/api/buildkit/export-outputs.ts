import { createHash } from "node:crypto";
import type { Exported } from "../../build/index.ts";
import { EngineError, toEngineError } from "../../common/index.ts";
import type { Engine } from "../../engine/index.ts";
import { parseReference } from "../../spec/index.ts";
import type { BuildJob } from "./build-job.ts";
import type { ClientSession } from "./client-session.ts";
import type { Output } from "./solve-request.ts";
import { statusWith } from "./status-records.ts";

const titles: Readonly<Record<Output["options"]["type"], string>> = {
  image: "exporting to image",
  registry: "exporting to image",
  local: "exporting to client directory",
  tar: "exporting to client tarball",
  docker: "exporting to docker image format",
  oci: "exporting to oci image format",
};

interface ExportContext {
  readonly engine: Engine;
  readonly job: Pick<BuildJob, "reference" | "tell" | "signal">;
  /** Asked for only where something goes to the client, or to a registry with its passwords. */
  readonly session: () => Promise<ClientSession>;
}

/** Hands a result to each output, a vertex each; what BuildKit's exporters answer, together. */
export async function exportOutputs(
  result: Exported | undefined,
  outputs: readonly Output[],
  context: ExportContext,
): Promise<Map<string, string>> {
  if (outputs.length === 0) return new Map();
  if (!result) throw new EngineError("invalidArgument", "No image was generated. Is your Dockerfile empty?");
  const answers = new Map<string, string>();
  for (const output of outputs) {
    const answer = await asVertex(output, context.job, (tell) => exportOne(result, output, { ...context, tell }));
    for (const [name, value] of answer) answers.set(name, value);
  }
  return answers;
}

type Tell = (text: string) => void;

async function asVertex<Value>(
  { id, options }: Output,
  job: ExportContext["job"],
  work: (tell: Tell) => Promise<Value>,
): Promise<Value> {
  const name = titles[options.type];
  const digest = `sha256:${createHash("sha256").update(`${job.reference} ${id} ${name}`).digest("hex")}`;
  const vertex = { digest, inputs: [], name, cached: false, startedMs: Date.now() };
  job.tell(statusWith({ vertexes: [vertex] }));
  const tell = (text: string): void => {
    const now = Date.now();
    const status = { id: text, vertex: digest, name: "", current: 0, total: 0, timestampMs: now };
    job.tell(statusWith({ statuses: [{ ...status, startedMs: now, completedMs: now }] }));
  };
  try {
    const value = await work(tell);
    job.tell(statusWith({ vertexes: [{ ...vertex, completedMs: Date.now() }] }));
    return value;
  } catch (error) {
    const ended = { ...vertex, completedMs: Date.now(), error: toEngineError(error).message };
    job.tell(statusWith({ vertexes: [ended] }));
    throw error;
  }
}

async function exportOne(
  result: Exported,
  { id, options }: Output,
  { engine, job, session, tell }: ExportContext & { tell: Tell },
): Promise<ReadonlyMap<string, string>> {
  if (options.type === "local" && !result.platforms) {
    const { attestations = [] } = result;
    await using tree = await engine.builds.openTree(result, { options, attestations });
    await (await session()).sendFolder(tree.root, { exporter: id, signal: job.signal });
    return new Map();
  }
  const answer = await engine.builds.export(result, {
    options: { ...options, push: false },
    signal: job.signal,
    attestations: result.attestations ?? [],
    sink: async (archive) => (await session()).sendFile(archive, { exporter: id, signal: job.signal }),
  });
  const imageId = answer.get("containerimage.config.digest");
  if (imageId !== undefined) tell(`writing image ${imageId}`);
  for (const name of (answer.get("image.name") ?? "").split(",")) if (name !== "") tell(`naming to ${canonical(name)}`);
  const digest = options.push
    ? await push(options.names, { engine, session, tell })
    : (answer.get("containerimage.digest") ?? imageId);
  return new Map([
    ...answer,
    ...(digest === undefined ? [] : [["containerimage.digest", digest] as const]),
    ...(options.names.length === 0 ? [] : [["image.name", options.names.map(canonical).join(",")] as const]),
  ]);
}

/** Answers the digest of the last manifest. */
async function push(
  names: readonly string[],
  { engine, session, tell }: { engine: Engine; session: ExportContext["session"]; tell: Tell },
): Promise<string | undefined> {
  let digest: string | undefined;
  for (const name of names) {
    const { domain, tag = "latest" } = parseReference(name);
    const credentials = await (await session()).credentials(domain);
    const messages = engine.registries.push(canonical(name).replace(/:[^:/]+$/, ""), { tag, credentials });
    for await (const message of messages) {
      const pushed = (message.aux as { Digest?: unknown } | undefined)?.Digest;
      if (typeof pushed === "string") digest = pushed;
    }
    tell(`pushing ${canonical(name)}${digest === undefined ? "" : `@${digest}`}`);
  }
  return digest;
}

function canonical(name: string): string {
  const { domain, path, tag = "latest" } = parseReference(name);
  return `${domain}/${path}:${tag}`;
}
