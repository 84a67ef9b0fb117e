// The client's side of a build's session: what it lends the engine.
import { connect } from "node:net";
import type { Duplex } from "node:stream";
import { EngineError } from "../../common/index.ts";
import { bothStreaming, serveGrpc, unary, type GrpcCall, type GrpcMethods } from "./grpc-server.ts";
import { contentPaths, offerContent } from "./offer-content.ts";
import { offerOutputs, type OutputPlace } from "./offer-outputs.ts";
import { sendFolder } from "./send-folder.ts";
import { healthMethods, healthServing, sessionMethods as methods } from "./session-messages.ts";

export interface SessionOffer {
  /** Folders by the names that builds know them by: `context`, `dockerfile`, named contexts. */
  readonly folders: Readonly<Record<string, string>>;
  readonly secrets: (id: string) => Uint8Array | undefined;
  /** Sockets of agents by id. */
  readonly agents: ReadonlyMap<string, string>;
  /** Folders of blobs by the names that builds know them by: `local:<path>` of caches. */
  readonly stores?: Readonly<Record<string, string>>;
  /** Where outputs go, by their exporters' places. */
  readonly outputs?: ReadonlyMap<number, OutputPlace>;
  readonly credentials: (host: string) => Promise<{ username: string; secret: string } | undefined>;
}

/** Paths of the methods that an offer serves. */
export const offeredMethods: readonly string[] = [
  methods.diffCopy.path,
  methods.credentials.path,
  methods.secret.path,
  methods.checkAgent.path,
  methods.forwardAgent.path,
  methods.fileSend.path,
  ...contentPaths,
  healthMethods.check.path,
];

/** Serves an offer on the session's connection until it closes. */
export function offerSession(connection: Duplex, offer: SessionOffer): Promise<void> {
  const served: GrpcMethods = {
    ...offerContent(offer.stores ?? {}),
    ...offerOutputs(offer.outputs ?? new Map()),
    [methods.diffCopy.path]: bothStreaming(methods.diffCopy, (packets, call) => {
      const name = listHeader(call, "dir-name")[0] ?? "";
      const root = Object.hasOwn(offer.folders, name) ? offer.folders[name] : undefined;
      if (root === undefined) throw new EngineError("notFound", `no access allowed to dir "${name}"`);
      const filter = {
        include: listHeader(call, "include-patterns"),
        exclude: listHeader(call, "exclude-patterns"),
        followPaths: listHeader(call, "followpaths"),
      };
      return sendFolder(root, { filter, packets, signal: call.signal });
    }),
    [methods.credentials.path]: unary(
      methods.credentials,
      async ({ host }) => (await offer.credentials(host)) ?? { username: "", secret: "" },
    ),
    [methods.secret.path]: unary(methods.secret, ({ id }) => {
      const data = offer.secrets(id);
      if (data === undefined) throw new EngineError("notFound", `secret ${id} not found`);
      return { data };
    }),
    [methods.checkAgent.path]: unary(methods.checkAgent, ({ id }) => {
      agentOf(offer, id);
      return {};
    }),
    [methods.forwardAgent.path]: bothStreaming(methods.forwardAgent, (pieces, call) =>
      toAgent(agentOf(offer, listHeader(call, "buildkit.ssh.id")[0] ?? ""), pieces, call.signal),
    ),
    [healthMethods.check.path]: unary(healthMethods.check, () => ({ status: healthServing })),
  };
  return serveGrpc(connection, served);
}

function agentOf(offer: SessionOffer, id: string): string {
  const path = offer.agents.get(id === "" ? "default" : id);
  if (path === undefined) throw new EngineError("notFound", `unset ssh forward key ${id}`);
  return path;
}

async function* toAgent(
  path: string,
  pieces: AsyncIterable<{ data: Uint8Array }>,
  signal: AbortSignal,
): AsyncGenerator<{ data: Uint8Array }> {
  const socket = connect(path);
  signal.addEventListener("abort", () => socket.destroy(), { once: true });
  const sending = (async () => {
    for await (const { data } of pieces) socket.write(data);
    socket.end();
  })().catch(() => socket.destroy());
  try {
    for await (const data of socket) yield { data: data as Uint8Array };
  } finally {
    socket.destroy();
    await sending;
  }
}

/** A header that repeats comes joined; what is not plain text is percent-encoded and marked. */
function listHeader(call: GrpcCall, name: string): string[] {
  const value = call.headers[name];
  const values = (Array.isArray(value) ? value : (value ?? "").split(", ")).filter((one) => one !== "");
  return call.headers[`${name}-encoded`] === undefined ? values : values.map((one) => decodeURIComponent(one));
}
