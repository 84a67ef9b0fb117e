import { buildSessions, type BuildStatus, type BuildVertex } from "../api/client/index.ts";
import { EngineError } from "../common/index.ts";
import type { ProgressMessage } from "../spec/index.ts";
import { TerminalProgress } from "./build-progress-terminal.ts";
import { print, printError } from "./output.ts";
import type { ProgressRenderer } from "./progress-renderer.ts";

export type ProgressKind = "auto" | "plain" | "tty" | "rawjson" | "quiet";

/** Shows the records of a build to standard error; answers its image. Throws the stream's own error. */
export async function showRecords(
  messages: AsyncIterable<ProgressMessage>,
  { kind, onResult }: { kind: Exclude<ProgressKind, "auto">; onResult: (answers: Record<string, string>) => void },
): Promise<string | undefined> {
  const { decodeTrace } = await buildSessions();
  const renderer = rendererOf(kind);
  let imageId: string | undefined;
  try {
    for await (const message of messages) {
      if (message.errorDetail || message.error) {
        const text = message.errorDetail?.message ?? message.error ?? "";
        throw new EngineError("internal", text, { data: { fromStream: true, code: message.errorDetail?.code ?? 1 } });
      }
      if (message.id === "moby.buildkit.trace") renderer.take(decodeTrace(String(message.aux)));
      else if (message.id === "vitrine.build.result") onResult(message.aux as Record<string, string>);
      else if (message.id === "moby.image.id") imageId = (message.aux as { ID: string }).ID;
    }
  } finally {
    renderer.end();
  }
  if (kind === "quiet" && imageId !== undefined) print(`${imageId}\n`);
  return imageId;
}

function rendererOf(kind: Exclude<ProgressKind, "auto">): ProgressRenderer {
  if (kind === "tty") return new TerminalProgress();
  if (kind === "plain") return new PlainProgress();
  if (kind === "rawjson") return { take: (status) => printError(`${rawJson(status)}\n`), end: () => {} };
  return { take: () => {}, end: () => {} };
}

export function seconds(ms: number): string {
  return (Math.max(0, ms) / 1000).toFixed(1);
}

/** One line a thing, each behind the number of its vertex, as BuildKit's plain progress has it. */
class PlainProgress implements ProgressRenderer {
  readonly #numbers = new Map<string, number>();
  readonly #known = new Map<string, BuildVertex>();
  readonly #partial = new Map<string, string>();
  readonly #ended = new Set<string>();
  #last: string | undefined;

  take(status: BuildStatus): void {
    for (const vertex of status.vertexes) this.#vertex(vertex);
    for (const part of status.statuses) {
      if (part.completedMs !== undefined) this.#line(part.vertex, `${part.name === "" ? part.id : part.name} done`);
    }
    for (const log of status.logs)
      this.#log(log.vertex, { text: Buffer.from(log.msg).toString(), atMs: log.timestampMs });
    for (const warning of status.warnings) printError(`WARNING: ${warning.short}\n`);
  }

  end(): void {
    for (const [digest, text] of this.#partial) if (text !== "") this.#line(digest, text);
  }

  #vertex(vertex: BuildVertex): void {
    this.#known.set(vertex.digest, vertex);
    if (vertex.startedMs === undefined || this.#ended.has(vertex.digest)) return;
    if (!this.#numbers.has(vertex.digest)) this.#line(vertex.digest, undefined);
    if (vertex.completedMs === undefined) return;
    this.#ended.add(vertex.digest);
    const took = seconds(vertex.completedMs - vertex.startedMs);
    if (vertex.error !== undefined) this.#line(vertex.digest, `ERROR: ${vertex.error}`);
    else this.#line(vertex.digest, vertex.cached ? "CACHED" : `DONE ${took}s`);
  }

  #log(digest: string, { text, atMs }: { text: string; atMs: number }): void {
    const startedMs = this.#known.get(digest)?.startedMs ?? atMs;
    const lines = `${this.#partial.get(digest) ?? ""}${text}`.split("\n");
    this.#partial.set(digest, lines.pop() ?? "");
    for (const line of lines) this.#line(digest, `${(Math.max(0, atMs - startedMs) / 1000).toFixed(3)} ${line}`);
  }

  /** Whenever another vertex speaks, an empty line and its name come first. */
  #line(digest: string, text: string | undefined): void {
    const number = this.#numbers.get(digest) ?? this.#numbers.size + 1;
    this.#numbers.set(digest, number);
    if (this.#last !== digest) {
      printError(`${this.#last === undefined ? "" : "\n"}#${number} ${this.#known.get(digest)?.name ?? digest}\n`);
    }
    this.#last = digest;
    if (text !== undefined) printError(`#${number} ${text}\n`);
  }
}

/** As buildx prints a SolveStatus: empty parts left out, bytes in base64, times in RFC 3339. */
function rawJson(status: BuildStatus): string {
  const time = (ms: number | undefined): string | undefined =>
    ms === undefined ? undefined : new Date(ms).toISOString();
  const parts = {
    vertexes: status.vertexes.map(({ startedMs, completedMs, inputs, cached, ...vertex }) => ({
      ...vertex,
      ...(inputs.length > 0 ? { inputs } : {}),
      ...(cached ? { cached } : {}),
      started: time(startedMs),
      completed: time(completedMs),
    })),
    statuses: status.statuses.map(({ startedMs, completedMs, timestampMs, ...part }) => ({
      ...part,
      timestamp: time(timestampMs),
      started: time(startedMs),
      completed: time(completedMs),
    })),
    logs: status.logs.map(({ vertex, stream, msg, timestampMs }) => ({
      vertex,
      stream,
      data: Buffer.from(msg).toString("base64"),
      timestamp: time(timestampMs),
    })),
    warnings: status.warnings,
  };
  return JSON.stringify(Object.fromEntries(Object.entries(parts).filter(([, list]) => list.length > 0)));
}
