// Types of moby.buildkit.v1.frontend.LLBBridge (moby/buildkit, frontend/gateway/pb/gateway.proto, util/apicaps/pb/caps.proto).
import { platformMessage, workerMessage } from "./control-messages.ts";
import { definitionMessage, type Definition } from "./graph-messages.ts";
import { statusMessage, type StatusDetail } from "./grpc-status.ts";
import { bytes, flag, integer, many, manyBytes, mapOf, message, one, text } from "./protobuf.ts";
import { emptyMessage, statMessage, type Stat } from "./session-messages.ts";

const capabilityMessage = message<{ id: string; enabled: boolean }>({ id: text(1), enabled: flag(2) });

const refMessage = message<{ id: string; def: Definition | undefined }>({
  id: text(1),
  def: one(2, definitionMessage),
});
type Ref = { id: string; def: Definition | undefined };

/** Either one reference, or one for each platform. Empty references stand for an empty filesystem. */
export interface GatewayResult {
  refDeprecated: string;
  ref: Ref | undefined;
  refs: { refs: ReadonlyMap<string, Ref | undefined> } | undefined;
  metadata: ReadonlyMap<string, Uint8Array>;
}
export const resultMessage = message<GatewayResult>({
  refDeprecated: text(1),
  ref: one(3, refMessage),
  refs: one(
    4,
    message<{ refs: ReadonlyMap<string, Ref | undefined> }>({ refs: mapOf(1, (number) => one(number, refMessage)) }),
  ),
  metadata: mapOf(10, bytes),
});

const sourceMessage = message<{ identifier: string; attrs: ReadonlyMap<string, string> }>({
  identifier: text(1),
  attrs: mapOf(2, text),
});
type Source = { identifier: string; attrs: ReadonlyMap<string, string> };
type Platform = ReturnType<typeof platformMessage.decode>;

const cacheEntryMessage = message<{ type: string; attrs: ReadonlyMap<string, string> }>({
  type: text(1),
  attrs: mapOf(2, text),
});

const imageMetaMessage = message<{ digest: string; config: Uint8Array }>({ digest: text(1), config: bytes(2) });

const bridge = "/moby.buildkit.v1.frontend.LLBBridge";

export const gatewayMethods = {
  ping: {
    path: `${bridge}/Ping`,
    request: emptyMessage,
    response: message<{
      frontendApiCaps: readonly { id: string; enabled: boolean }[];
      llbCaps: readonly { id: string; enabled: boolean }[];
      workers: readonly ReturnType<typeof workerMessage.decode>[];
    }>({
      frontendApiCaps: many(1, capabilityMessage),
      llbCaps: many(2, capabilityMessage),
      workers: many(3, workerMessage),
    }),
  },
  solve: {
    path: `${bridge}/Solve`,
    request: message<{
      definition: Definition | undefined;
      frontend: string;
      frontendOpt: ReadonlyMap<string, string>;
      allowResultReturn: boolean;
      allowResultArrayRef: boolean;
      final: boolean;
      cacheImports: readonly { type: string; attrs: ReadonlyMap<string, string> }[];
      frontendInputs: ReadonlyMap<string, Definition | undefined>;
      evaluate: boolean;
      sourcePolicies: readonly { version: number }[];
    }>({
      definition: one(1, definitionMessage),
      frontend: text(2),
      frontendOpt: mapOf(3, text),
      allowResultReturn: flag(5),
      allowResultArrayRef: flag(6),
      final: flag(10),
      cacheImports: many(12, cacheEntryMessage),
      frontendInputs: mapOf(13, (number) => one(number, definitionMessage)),
      evaluate: flag(14),
      sourcePolicies: many(15, message<{ version: number }>({ version: integer(1) })),
    }),
    response: message<{ ref: string; result: GatewayResult | undefined }>({
      ref: text(1),
      result: one(3, resultMessage),
    }),
  },
  return: {
    path: `${bridge}/Return`,
    request: message<{
      result: GatewayResult | undefined;
      error: { code: number; message: string; details: readonly StatusDetail[] } | undefined;
    }>({ result: one(1, resultMessage), error: one(2, statusMessage) }),
    response: emptyMessage,
  },
  inputs: {
    path: `${bridge}/Inputs`,
    request: emptyMessage,
    response: message<{ definitions: ReadonlyMap<string, Definition | undefined> }>({
      definitions: mapOf(1, (number) => one(number, definitionMessage)),
    }),
  },
  evaluate: {
    path: `${bridge}/Evaluate`,
    request: message<{ ref: string }>({ ref: text(1) }),
    response: emptyMessage,
  },
  warn: {
    path: `${bridge}/Warn`,
    request: message<{ digest: string; level: number; short: Uint8Array; detail: readonly Uint8Array[]; url: string }>({
      digest: text(1),
      level: integer(2),
      short: bytes(3),
      detail: manyBytes(4),
      url: text(5),
    }),
    response: emptyMessage,
  },
  resolveImageConfig: {
    path: `${bridge}/ResolveImageConfig`,
    request: message<{ ref: string; platform: Platform | undefined; resolveMode: string; logName: string }>({
      ref: text(1),
      platform: one(2, platformMessage),
      resolveMode: text(3),
      logName: text(4),
    }),
    response: message<{ digest: string; config: Uint8Array; ref: string }>({
      digest: text(1),
      config: bytes(2),
      ref: text(3),
    }),
  },
  resolveSourceMeta: {
    path: `${bridge}/ResolveSourceMeta`,
    request: message<{
      source: Source | undefined;
      platform: Platform | undefined;
      logName: string;
      resolveMode: string;
    }>({
      source: one(1, sourceMessage),
      platform: one(2, platformMessage),
      logName: text(3),
      resolveMode: text(4),
    }),
    response: message<{ source: Source | undefined; image: { digest: string; config: Uint8Array } | undefined }>({
      source: one(1, sourceMessage),
      image: one(2, imageMetaMessage),
    }),
  },
  statFile: {
    path: `${bridge}/StatFile`,
    request: message<{ ref: string; path: string }>({ ref: text(1), path: text(2) }),
    response: message<{ stat: Stat | undefined }>({ stat: one(1, statMessage) }),
  },
  readFile: {
    path: `${bridge}/ReadFile`,
    request: message<{ ref: string; filePath: string; range: { offset: number; length: number } | undefined }>({
      ref: text(1),
      filePath: text(2),
      range: one(3, message<{ offset: number; length: number }>({ offset: integer(1), length: integer(2) })),
    }),
    response: message<{ data: Uint8Array }>({ data: bytes(1) }),
  },
  readDir: {
    path: `${bridge}/ReadDir`,
    request: message<{ ref: string; dirPath: string; includePattern: string }>({
      ref: text(1),
      dirPath: text(2),
      includePattern: text(3),
    }),
    response: message<{ entries: readonly Stat[] }>({ entries: many(1, statMessage) }),
  },
} as const;

/** What a frontend does in containers of its own; refused by name. */
export const containerMethods = [
  "NewContainer",
  "ReleaseContainer",
  "ExecProcess",
  "ReadFileContainer",
  "ReadDirContainer",
  "StatFileContainer",
].map((name) => `${bridge}/${name}`);
