import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import type { BuildSession, CachePlace, FilesOptions, LocalTree, SshSocket } from "../../build/index.ts";
import { EngineError, toEngineError } from "../../common/index.ts";
import type { OutgoingHttpHeaders } from "node:http2";
import { clientContent } from "./client-content.ts";
import { contentMethods } from "./content-messages.ts";
import type { CallOptions } from "./grpc-client.ts";
import { receiveFolder, type FolderProgress } from "./receive-folder.ts";
import { sendFolder } from "./send-folder.ts";
import { sessionMethods } from "./session-messages.ts";
import type { ConnectedSession } from "./session-registry.ts";
import type { SyncedFolders } from "./synced-folders.ts";

export interface ClientSessionOptions {
  readonly folders: SyncedFolders;
  /** For sockets of forwarded agents; its path is short. */
  readonly runFolder: string;
  /** Told of each transfer as it goes on. */
  readonly onProgress?: (name: string, counts: Parameters<FolderProgress>[0]) => void;
}

/** What a connected client lends a build, asked of it over gRPC. */
export class ClientSession implements BuildSession {
  constructor(
    private readonly session: ConnectedSession,
    private readonly options: ClientSessionOptions,
  ) {}

  async files(name: string, options: FilesOptions = {}): Promise<LocalTree> {
    const { client, sharedKey } = this.session;
    this.#require(sessionMethods.diffCopy.path, `its folder "${name}"`);
    const { include, exclude, followPaths } = options;
    const identity = createHash("sha256")
      .update(JSON.stringify([name, sharedKey, include ?? [], exclude ?? [], followPaths ?? []]))
      .digest("hex");
    const folder = this.options.folders.acquire(identity.slice(0, 32));
    try {
      using stream = client.stream(sessionMethods.diffCopy.path, {
        ...sessionMethods.diffCopy,
        ...(options.signal ? { signal: options.signal } : {}),
        headers: listHeaders({
          "dir-name": [name],
          "include-patterns": include,
          "exclude-patterns": exclude,
          followpaths: followPaths,
        }),
      });
      const { stats, changed } = await receiveFolder(stream, {
        root: folder.root,
        known: folder.known,
        beforeChange: () => folder.invalidate(),
        onProgress: (counts) => this.options.onProgress?.(name, counts),
      });
      if (changed || stats.length === 0) folder.record(stats);
      return {
        root: folder.root,
        state: folder.state,
        [Symbol.asyncDispose]: async () => folder[Symbol.dispose](),
      };
    } catch (error) {
      folder[Symbol.dispose]();
      throw error;
    }
  }

  async secret(id: string): Promise<Uint8Array | undefined> {
    const { path } = sessionMethods.secret;
    if (!this.session.offers(path)) return undefined;
    try {
      return (await this.session.client.unary(path, { id }, sessionMethods.secret)).data.slice();
    } catch (error) {
      return absent(error);
    }
  }

  async ssh(id: string): Promise<SshSocket | undefined> {
    const { path } = sessionMethods.checkAgent;
    if (!this.session.offers(path)) return undefined;
    try {
      await this.session.client.unary(path, { id }, sessionMethods.checkAgent);
    } catch (error) {
      // A client without that agent answers so; what matters is that it has none.
      if (toEngineError(error).code === "unavailable") throw error;
      return undefined;
    }
    return forwardAgent(this.session, { id, runFolder: this.options.runFolder });
  }

  async credentials(host: string): ReturnType<BuildSession["credentials"]> {
    const { path } = sessionMethods.credentials;
    if (!this.session.offers(path)) return undefined;
    try {
      // Clients know the hub by the name of its registry.
      const asked = { host: host === "docker.io" ? "registry-1.docker.io" : host };
      const { username, secret } = await this.session.client.unary(path, asked, sessionMethods.credentials);
      if (secret === "") return undefined;
      return username === "" ? { identityToken: secret } : { username, password: secret };
    } catch (error) {
      return absent(error);
    }
  }

  async cacheFolder(
    folder: string,
    { kind = "local", ...options }: { digest: string | undefined; signal: AbortSignal; kind?: "local" | "oci" },
  ): Promise<CachePlace | undefined> {
    if (!this.session.offers(contentMethods.info.path)) return undefined;
    return clientContent(this.session, { ...options, store: `${kind}:${folder}` });
  }

  /** Writes one archive to where the client wants it. */
  async sendFile(archive: AsyncIterable<Uint8Array>, to: { exporter: number; signal: AbortSignal }): Promise<void> {
    const { path, ...types } = sessionMethods.fileSend;
    this.#require(path, "a place for the build's output");
    using stream = this.session.client.stream(path, { ...types, ...exporterCall(to) });
    const ended = (async () => {
      for await (const _ of stream.responses);
    })();
    const gone = ended.then(() => "gone" as const);
    gone.catch(() => {});
    for await (const chunk of archive) {
      for (let at = 0; at < chunk.length; at += maxPieceBytes) {
        const piece = stream.write({ data: chunk.subarray(at, at + maxPieceBytes) });
        // A client that cannot write says so at once.
        await Promise.race([piece, gone]);
      }
    }
    stream.end();
    await ended;
  }

  /** Makes the client's folder have what is in ours. */
  async sendFolder(root: string, to: { exporter: number; signal: AbortSignal }): Promise<void> {
    const { path, ...types } = sessionMethods.folderSend;
    this.#require(path, "a folder for the build's output");
    using stream = this.session.client.stream(path, { ...types, ...exporterCall(to) });
    const filter = { include: [], exclude: [], followPaths: [] };
    for await (const packet of sendFolder(root, { filter, packets: stream.responses, signal: to.signal })) {
      await stream.write(packet);
    }
    stream.end();
  }

  #require(path: string, what: string): void {
    if (this.session.offers(path)) return;
    throw new EngineError("notFound", `The build's client does not offer ${what}`);
  }
}

/** Below the 4 MiB that gRPC's clients take at the most. */
const maxPieceBytes = 1024 * 1024;

function exporterCall({ exporter, signal }: { exporter: number; signal: AbortSignal }): CallOptions {
  return { signal, headers: { "buildkit-attachable-exporter-id": String(exporter) } };
}

/** A client that does not have a thing, or does not serve that kind of thing, is no failure. */
function absent(error: unknown): undefined {
  const { code } = toEngineError(error);
  if (code === "notFound" || code === "unsupported") return undefined;
  throw error;
}

/** Headers repeat for lists, percent-encoded with a mark where they are not plain text, as BuildKit's file sync has them. */
function listHeaders(lists: Readonly<Record<string, readonly string[] | undefined>>): OutgoingHttpHeaders {
  const headers: Record<string, string[]> = {};
  for (const [name, values] of Object.entries(lists)) {
    if (values === undefined || values.length === 0) continue;
    // A comma is what joins the values of one header on the way.
    const plain = values.every((value) => /^[\t\x20-\x2b\x2d-\x7e]*$/.test(value));
    if (!plain) headers[`${name}-encoded`] = ["1"];
    headers[name] = plain ? [...values] : values.map((value) => encodeURIComponent(value));
  }
  return headers;
}

/** A unix socket each of whose connections is one to the client's agent. */
async function forwardAgent(
  session: ConnectedSession,
  { id, runFolder }: { id: string; runFolder: string },
): Promise<SshSocket> {
  const folder = mkdtempSync(join(runFolder, "ssh-"));
  const path = join(folder, "agent.sock");
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => socket.destroy());
    forward(session, { id, socket }).catch(() => socket.destroy());
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, () => resolve());
  });
  return {
    path,
    async [Symbol.asyncDispose]() {
      server.close();
      for (const socket of sockets) socket.destroy();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function forward(session: ConnectedSession, { id, socket }: { id: string; socket: Socket }): Promise<void> {
  const { path, ...types } = sessionMethods.forwardAgent;
  using stream = session.client.stream(path, { ...types, headers: { "buildkit.ssh.id": id } });
  const sending = (async () => {
    for await (const data of socket.iterator({ destroyOnReturn: false }))
      await stream.write({ data: data as Uint8Array });
    stream.end();
  })().catch(() => {});
  for await (const { data } of stream.responses) {
    if (!socket.write(data)) await new Promise((resolve) => socket.once("drain", resolve).once("close", resolve));
  }
  socket.end();
  await sending;
}
