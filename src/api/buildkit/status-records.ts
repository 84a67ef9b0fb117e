// A build's progress in the words of BuildKit's StatusResponse, and back.
import type { BuildStatus, BuildVertex, VertexLog, VertexStatus, VertexWarning } from "../../build/index.ts";
import type { BuildSource } from "./build-error.ts";
import type { StatusResponse, Timestamp, WireStatus, WireVertex } from "./control-messages.ts";

export function timestampOf(ms: number): Timestamp {
  const seconds = Math.floor(ms / 1000);
  return { seconds, nanos: Math.round((ms - seconds * 1000) * 1e6) };
}

export function millisecondsOf({ seconds, nanos }: Timestamp): number {
  return seconds * 1000 + nanos / 1e6;
}

/** `source` is what warnings are of: clients show its lines. */
export function encodeStatus(status: BuildStatus, source?: BuildSource): StatusResponse {
  const text = source === undefined ? new Uint8Array(0) : Buffer.from(source.text);
  return {
    vertexes: status.vertexes.map(wireVertex),
    statuses: status.statuses.map(wireStatus),
    logs: status.logs.map(({ timestampMs, ...log }) => ({ ...log, timestamp: timestampOf(timestampMs) })),
    warnings: status.warnings.map((warning) => ({
      vertex: warning.vertex,
      level: warning.level,
      short: Buffer.from(warning.short),
      detail: warning.detail.map((line) => Buffer.from(line)),
      url: warning.url,
      info: warning.file === "" ? undefined : { filename: warning.file, data: text, language: "Dockerfile" },
      ranges: warning.range.map(({ start, end }) => ({ start: wirePosition(start), end: wirePosition(end) })),
    })),
  };
}

/** The same in our shapes; what a warning says of its source's text is not kept. */
export function decodeStatus(response: StatusResponse): BuildStatus {
  return {
    vertexes: response.vertexes.map(({ started, completed, error, progressGroup, ...vertex }): BuildVertex => ({
      ...vertex,
      ...times({ started, completed }),
      ...(error === "" ? {} : { error }),
      ...(progressGroup ? { progressGroup } : {}),
    })),
    statuses: response.statuses.map(({ timestamp, started, completed, ...status }): VertexStatus => ({
      ...status,
      timestampMs: timestamp ? millisecondsOf(timestamp) : 0,
      ...times({ started, completed }),
    })),
    logs: response.logs.map(({ timestamp, stream, ...log }): VertexLog => ({
      ...log,
      stream: stream === 2 ? 2 : 1,
      timestampMs: timestamp ? millisecondsOf(timestamp) : 0,
    })),
    warnings: response.warnings.map(({ short, detail, info, ranges, ...warning }): VertexWarning => ({
      ...warning,
      short: Buffer.from(short).toString(),
      detail: detail.map((line) => Buffer.from(line).toString()),
      file: info?.filename ?? "",
      range: ranges.map(({ start, end }) => ({ start: ownPosition(start), end: ownPosition(end) })),
    })),
  };
}

/** A status with only what is given. */
export function statusWith(parts: Partial<BuildStatus>): BuildStatus {
  return { vertexes: [], statuses: [], logs: [], warnings: [], ...parts };
}

function wireVertex({ startedMs, completedMs, error, progressGroup, ...vertex }: BuildVertex): WireVertex {
  return { ...vertex, ...wireTimes({ startedMs, completedMs }), error: error ?? "", progressGroup };
}

function wireStatus({ startedMs, completedMs, timestampMs, ...status }: VertexStatus): WireStatus {
  return { ...status, timestamp: timestampOf(timestampMs), ...wireTimes({ startedMs, completedMs }) };
}

function wireTimes({ startedMs, completedMs }: { startedMs: number | undefined; completedMs: number | undefined }): {
  started: Timestamp | undefined;
  completed: Timestamp | undefined;
} {
  return {
    started: startedMs === undefined ? undefined : timestampOf(startedMs),
    completed: completedMs === undefined ? undefined : timestampOf(completedMs),
  };
}

function times({ started, completed }: { started: Timestamp | undefined; completed: Timestamp | undefined }): {
  startedMs?: number;
  completedMs?: number;
} {
  return {
    ...(started ? { startedMs: millisecondsOf(started) } : {}),
    ...(completed ? { completedMs: millisecondsOf(completed) } : {}),
  };
}

interface Place {
  readonly line: number;
  readonly column: number;
}

/** BuildKit counts characters from 0. */
function wirePosition({ line, column }: Place): { line: number; character: number } {
  return { line, character: Math.max(0, column - 1) };
}

function ownPosition(position: { line: number; character: number } | undefined): Place {
  return { line: position?.line ?? 0, column: (position?.character ?? 0) + 1 };
}
