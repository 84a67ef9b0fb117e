// Types of moby.buildkit.v1.Control (moby/buildkit, api/services/control/control.proto, api/types/worker.proto, solver/pb/ops.proto).
import { definitionMessage, type Definition } from "./graph-messages.ts";
import { statusMessage, type StatusDetail } from "./grpc-status.ts";
import {
  bytes,
  flag,
  integer,
  many,
  manyBytes,
  manyTexts,
  mapOf,
  message,
  one,
  text,
  type Message,
} from "./protobuf.ts";
import { bytesMessage, emptyMessage } from "./session-messages.ts";

export interface Timestamp {
  seconds: number;
  nanos: number;
}
export const timestampMessage = message<Timestamp>({ seconds: integer(1), nanos: integer(2) });

export const platformMessage = message<{ architecture: string; os: string; variant: string; osVersion: string }>({
  architecture: text(1),
  os: text(2),
  variant: text(3),
  osVersion: text(4),
});

const exporterMessage = message<{ type: string; attrs: ReadonlyMap<string, string> }>({
  type: text(1),
  attrs: mapOf(2, text),
});
export type Exporter = { type: string; attrs: ReadonlyMap<string, string> };

export interface CacheOptions {
  exportRefDeprecated: string;
  importRefsDeprecated: readonly string[];
  exportAttrsDeprecated: ReadonlyMap<string, string>;
  exports: readonly Exporter[];
  imports: readonly Exporter[];
}

export interface SolveRequest {
  ref: string;
  definition: Definition | undefined;
  exporterDeprecated: string;
  exporterAttrsDeprecated: ReadonlyMap<string, string>;
  session: string;
  frontend: string;
  frontendAttrs: ReadonlyMap<string, string>;
  cache: CacheOptions | undefined;
  entitlements: readonly string[];
  frontendInputs: ReadonlyMap<string, Definition | undefined>;
  internal: boolean;
  sourcePolicy: { version: number } | undefined;
  exporters: readonly Exporter[];
  sourcePolicySession: string;
}

const solveRequest = message<SolveRequest>({
  ref: text(1),
  definition: one(2, definitionMessage),
  exporterDeprecated: text(3),
  exporterAttrsDeprecated: mapOf(4, text),
  session: text(5),
  frontend: text(6),
  frontendAttrs: mapOf(7, text),
  cache: one(
    8,
    message<CacheOptions>({
      exportRefDeprecated: text(1),
      importRefsDeprecated: manyTexts(2),
      exportAttrsDeprecated: mapOf(3, text),
      exports: many(4, exporterMessage),
      imports: many(5, exporterMessage),
    }),
  ),
  entitlements: manyTexts(9),
  frontendInputs: mapOf(10, (number) => one(number, definitionMessage)),
  internal: flag(11),
  sourcePolicy: one(12, message<{ version: number }>({ version: integer(1) })),
  exporters: many(13, exporterMessage),
  sourcePolicySession: text(15),
});

const progressGroupMessage = message<{ id: string; name: string; weak: boolean }>({
  id: text(1),
  name: text(2),
  weak: flag(3),
});

const positionMessage = message<{ line: number; character: number }>({ line: integer(1), character: integer(2) });
const rangeMessage = message<{
  start: { line: number; character: number } | undefined;
  end: { line: number; character: number } | undefined;
}>({ start: one(1, positionMessage), end: one(2, positionMessage) });
const sourceInfoMessage = message<{ filename: string; data: Uint8Array; language: string }>({
  filename: text(1),
  data: bytes(2),
  language: text(4),
});

/** A vertex, a part of one, a piece of its output, a warning: names as the protocol has them. */
export interface WireVertex {
  digest: string;
  inputs: readonly string[];
  name: string;
  cached: boolean;
  started: Timestamp | undefined;
  completed: Timestamp | undefined;
  error: string;
  progressGroup: ReturnType<typeof progressGroupMessage.decode> | undefined;
}
export interface WireStatus {
  id: string;
  vertex: string;
  name: string;
  current: number;
  total: number;
  timestamp: Timestamp | undefined;
  started: Timestamp | undefined;
  completed: Timestamp | undefined;
}
export interface WireLog {
  vertex: string;
  timestamp: Timestamp | undefined;
  stream: number;
  msg: Uint8Array;
}
export interface WireWarning {
  vertex: string;
  level: number;
  short: Uint8Array;
  detail: readonly Uint8Array[];
  url: string;
  info: ReturnType<typeof sourceInfoMessage.decode> | undefined;
  ranges: readonly ReturnType<typeof rangeMessage.decode>[];
}
export interface StatusResponse {
  vertexes: readonly WireVertex[];
  statuses: readonly WireStatus[];
  logs: readonly WireLog[];
  warnings: readonly WireWarning[];
}

export const statusResponse: Message<StatusResponse> = message<StatusResponse>({
  vertexes: many(
    1,
    message<WireVertex>({
      digest: text(1),
      inputs: manyTexts(2),
      name: text(3),
      cached: flag(4),
      started: one(5, timestampMessage),
      completed: one(6, timestampMessage),
      error: text(7),
      progressGroup: one(8, progressGroupMessage),
    }),
  ),
  statuses: many(
    2,
    message<WireStatus>({
      id: text(1),
      vertex: text(2),
      name: text(3),
      current: integer(4),
      total: integer(5),
      timestamp: one(6, timestampMessage),
      started: one(7, timestampMessage),
      completed: one(8, timestampMessage),
    }),
  ),
  logs: many(
    3,
    message<WireLog>({ vertex: text(1), timestamp: one(2, timestampMessage), stream: integer(3), msg: bytes(4) }),
  ),
  warnings: many(
    4,
    message<WireWarning>({
      vertex: text(1),
      level: integer(2),
      short: bytes(3),
      detail: manyBytes(4),
      url: text(5),
      info: one(6, sourceInfoMessage),
      ranges: many(7, rangeMessage),
    }),
  ),
});

const versionMessage = message<{ package: string; version: string; revision: string; dockerfileVersion: string }>({
  package: text(1),
  version: text(2),
  revision: text(3),
  dockerfileVersion: text(4),
});

const gcPolicyMessage = message<{
  all: boolean;
  keepDuration: number;
  reservedSpace: number;
  filters: readonly string[];
  maxUsedSpace: number;
  minFreeSpace: number;
}>({
  all: flag(1),
  keepDuration: integer(2),
  reservedSpace: integer(3),
  filters: manyTexts(4),
  maxUsedSpace: integer(5),
  minFreeSpace: integer(6),
});

export const workerMessage = message<{
  id: string;
  labels: ReadonlyMap<string, string>;
  platforms: readonly ReturnType<typeof platformMessage.decode>[];
  gcPolicy: readonly ReturnType<typeof gcPolicyMessage.decode>[];
  buildkitVersion: ReturnType<typeof versionMessage.decode> | undefined;
}>({
  id: text(1),
  labels: mapOf(2, text),
  platforms: many(3, platformMessage),
  gcPolicy: many(4, gcPolicyMessage),
  buildkitVersion: one(5, versionMessage),
});

export const usageRecordMessage = message<{
  id: string;
  mutable: boolean;
  inUse: boolean;
  size: number;
  createdAt: Timestamp | undefined;
  lastUsedAt: Timestamp | undefined;
  usageCount: number;
  description: string;
  recordType: string;
  shared: boolean;
  parents: readonly string[];
}>({
  id: text(1),
  mutable: flag(2),
  inUse: flag(3),
  size: integer(4),
  createdAt: one(6, timestampMessage),
  lastUsedAt: one(7, timestampMessage),
  usageCount: integer(8),
  description: text(9),
  recordType: text(10),
  shared: flag(11),
  parents: manyTexts(12),
});

export const historyRecordMessage = message<{
  ref: string;
  frontend: string;
  frontendAttrs: ReadonlyMap<string, string>;
  exporters: readonly Exporter[];
  error: { code: number; message: string; details: readonly StatusDetail[] } | undefined;
  createdAt: Timestamp | undefined;
  completedAt: Timestamp | undefined;
  exporterResponse: ReadonlyMap<string, string>;
  generation: number;
  pinned: boolean;
  numCachedSteps: number;
  numTotalSteps: number;
  numCompletedSteps: number;
  numWarnings: number;
}>({
  ref: text(1),
  frontend: text(2),
  frontendAttrs: mapOf(3, text),
  exporters: many(4, exporterMessage),
  error: one(5, statusMessage),
  createdAt: one(6, timestampMessage),
  completedAt: one(7, timestampMessage),
  exporterResponse: mapOf(9, text),
  generation: integer(12),
  pinned: flag(14),
  numCachedSteps: integer(15),
  numTotalSteps: integer(16),
  numCompletedSteps: integer(17),
  numWarnings: integer(19),
});
export type HistoryRecord = ReturnType<typeof historyRecordMessage.decode>;

const control = "/moby.buildkit.v1.Control";
export const historyEvents = { started: 0, complete: 1, deleted: 2 } as const;

export const controlMethods = {
  solve: {
    path: `${control}/Solve`,
    request: solveRequest,
    response: message<{ exporterResponse: ReadonlyMap<string, string> }>({ exporterResponse: mapOf(1, text) }),
  },
  status: { path: `${control}/Status`, request: message<{ ref: string }>({ ref: text(1) }), response: statusResponse },
  session: { path: `${control}/Session`, request: bytesMessage, response: bytesMessage },
  listWorkers: {
    path: `${control}/ListWorkers`,
    request: message<{ filter: readonly string[] }>({ filter: manyTexts(1) }),
    response: message<{ record: readonly ReturnType<typeof workerMessage.decode>[] }>({
      record: many(1, workerMessage),
    }),
  },
  info: {
    path: `${control}/Info`,
    request: emptyMessage,
    response: message<{ buildkitVersion: ReturnType<typeof versionMessage.decode> | undefined }>({
      buildkitVersion: one(1, versionMessage),
    }),
  },
  diskUsage: {
    path: `${control}/DiskUsage`,
    request: message<{ filter: readonly string[] }>({ filter: manyTexts(1) }),
    response: message<{ record: readonly ReturnType<typeof usageRecordMessage.decode>[] }>({
      record: many(1, usageRecordMessage),
    }),
  },
  prune: {
    path: `${control}/Prune`,
    request: message<{
      filter: readonly string[];
      all: boolean;
      keepDuration: number;
      reservedSpace: number;
      maxUsedSpace: number;
      minFreeSpace: number;
    }>({
      filter: manyTexts(1),
      all: flag(2),
      keepDuration: integer(3),
      reservedSpace: integer(4),
      maxUsedSpace: integer(5),
      minFreeSpace: integer(6),
    }),
    response: usageRecordMessage,
  },
  listenBuildHistory: {
    path: `${control}/ListenBuildHistory`,
    request: message<{
      activeOnly: boolean;
      ref: string;
      earlyExit: boolean;
      filter: readonly string[];
      limit: number;
    }>({
      activeOnly: flag(1),
      ref: text(2),
      earlyExit: flag(3),
      filter: manyTexts(4),
      limit: integer(5),
    }),
    response: message<{ type: number; record: HistoryRecord | undefined }>({
      type: integer(1),
      record: one(2, historyRecordMessage),
    }),
  },
  updateBuildHistory: {
    path: `${control}/UpdateBuildHistory`,
    request: message<{ ref: string; pinned: boolean; delete: boolean; finalize: boolean }>({
      ref: text(1),
      pinned: flag(2),
      delete: flag(3),
      finalize: flag(4),
    }),
    response: emptyMessage,
  },
} as const;
