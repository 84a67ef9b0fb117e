// A client of BuildKit's services, written from the published protocol (moby/buildkit *.proto, tonistiigi/fsutil send.go), on
// node:http2 and with nothing of ours: what buildx does on the docker driver.
import { EventEmitter, once } from "node:events";
import { lstatSync, openSync, readdirSync, readlinkSync, readSync, closeSync } from "node:fs";
import { connect as connectHttp2, createServer, type ClientHttp2Session, type ServerHttp2Stream } from "node:http2";
import { join } from "node:path";
import { Duplex } from "node:stream";
import { CollectedOutput, takeFile, takeFolder } from "./buildkit-outputs.ts";
import { upgraded } from "./h2c-upgrade.ts";
import { framed, Unframer } from "./grpc-framing.ts";
import { toWire, wireMap, WireReader, type WireMessage } from "./protobuf-wire.ts";

export { upgraded };

export class GrpcFailure extends Error {
  constructor(
    readonly code: number,
    message: string,
    /** google.rpc.Status's, by the last word of their types. */
    readonly details: readonly { readonly type: string; readonly value: unknown; readonly wire: WireMessage }[] = [],
  ) {
    super(message);
  }
}

/** The calls of `/grpc`. */
export class PeerControl implements Disposable {
  private constructor(
    private readonly session: ClientHttp2Session,
    private readonly socket: Duplex,
  ) {}

  static async open(socketPath: string): Promise<PeerControl> {
    const socket = await upgraded(socketPath, "/grpc");
    const session = connectHttp2("http://localhost", { createConnection: () => socket });
    session.on("error", () => {});
    return new PeerControl(session, socket);
  }

  [Symbol.dispose](): void {
    this.session.destroy();
    this.socket.destroy();
  }

  /** All messages of the answer; throws the call's status. */
  async call(path: string, message: WireMessage, headers: Record<string, string> = {}): Promise<WireReader[]> {
    const answers: WireReader[] = [];
    await this.listen(path, message, { headers, take: (answer) => void answers.push(answer) });
    return answers;
  }

  async one(path: string, message: WireMessage, headers: Record<string, string> = {}): Promise<WireReader> {
    const [answer] = await this.call(path, message, headers);
    if (!answer) throw new Error(`${path} answered nothing`);
    return answer;
  }

  /** A session inside a call, as clients have it whose connection is BuildKit's own. */
  tunnel(headers: Record<string, string | readonly string[]>): Duplex {
    const stream = this.session.request({
      ":method": "POST",
      ":path": `${control}/Session`,
      "content-type": "application/grpc",
      te: "trailers",
      ...(headers as Record<string, string>),
    });
    const unframer = new Unframer();
    const tunnel = new Duplex({
      read() {},
      write: (chunk: Buffer, _encoding, done) => void stream.write(framed(toWire([[1, chunk]])), () => done()),
      final: (done) => void stream.end(() => done()),
      destroy(_error, done) {
        stream.close();
        done(null);
      },
    });
    stream.on("data", (chunk: Buffer) => {
      for (const one of unframer.push(chunk)) tunnel.push(new WireReader(one).bytes(1) ?? Buffer.alloc(0));
    });
    stream.on("error", () => tunnel.destroy());
    stream.on("close", () => tunnel.destroy());
    return tunnel;
  }

  async listen(
    path: string,
    message: WireMessage,
    options: { headers?: Record<string, string>; take: (answer: WireReader) => void; signal?: AbortSignal },
  ): Promise<void> {
    const stream = this.session.request({
      ":method": "POST",
      ":path": path,
      "content-type": "application/grpc",
      te: "trailers",
      ...options.headers,
    });
    let status: number | undefined;
    let text = "";
    let details: GrpcFailure["details"] = [];
    const note = (headers: Record<string, unknown>): void => {
      if (headers["grpc-status"] === undefined) return;
      status = Number(headers["grpc-status"]);
      text = decodeURIComponent(String(headers["grpc-message"] ?? ""));
      details = detailsOf(headers["grpc-status-details-bin"]);
    };
    stream.on("response", note);
    stream.on("trailers", note);
    stream.on("error", () => {});
    options.signal?.addEventListener("abort", () => stream.close(8));
    const unframer = new Unframer();
    stream.on("data", (chunk: Buffer) => {
      for (const one of unframer.push(chunk)) options.take(new WireReader(one));
    });
    stream.end(framed(toWire(message)));
    await once(stream, "close");
    if (status !== 0) throw new GrpcFailure(status ?? -1, text, details);
  }
}

function detailsOf(header: unknown): GrpcFailure["details"] {
  if (header === undefined) return [];
  const status = new WireReader(Buffer.from(String(header), "base64"));
  return status.messages(3).map((one) => ({
    type: one.text(1),
    value: JSON.parse(one.text(2)) as unknown,
    wire: [
      [1, one.text(1)],
      [2, one.text(2)],
    ],
  }));
}

export interface PeerSessionOptions {
  /** Name → folder: `context`, `dockerfile`. */
  readonly folders?: Readonly<Record<string, string>>;
  readonly secrets?: Readonly<Record<string, string>>;
  readonly sharedKey?: string;
  /** For one registry. */
  readonly login?: { readonly host: string; readonly user: string; readonly password: string };
  /** Takes the build's output: one file, or a folder. */
  readonly takes?: "file" | "folder";
  /** Changes what is told of a file, for a client that lies. */
  readonly forge?: (path: string) => { path?: string; size?: number } | undefined;
}

/** The session of a build: connects `/session` and serves what the engine asks for. Dispose it to leave. */
export class PeerSession implements Disposable {
  readonly id = crypto.randomUUID().replaceAll("-", "");
  /** How often the engine asked for which method, and the contents that it asked for. */
  readonly calls: string[] = [];
  readonly requested: string[] = [];
  readonly patterns: Record<string, unknown>[] = [];
  readonly output = new CollectedOutput();
  #socket: Duplex | undefined;

  constructor(private readonly options: PeerSessionOptions) {}

  static async open(socketPath: string, options: PeerSessionOptions): Promise<PeerSession> {
    const session = new PeerSession(options);
    const methods = [
      "/moby.filesync.v1.FileSync/DiffCopy",
      "/grpc.health.v1.Health/Check",
      ...(options.takes ? ["/moby.filesync.v1.FileSend/DiffCopy"] : []),
      ...(options.secrets ? ["/moby.buildkit.secrets.v1.Secrets/GetSecret"] : []),
      ...(options.login ? ["/moby.filesync.v1.Auth/Credentials"] : []),
    ];
    const socket = await upgraded(socketPath, "/session", [
      `X-Docker-Expose-Session-Uuid: ${session.id}`,
      `X-Docker-Expose-Session-Sharedkey: ${options.sharedKey ?? ""}`,
      ...methods.map((method) => `X-Docker-Expose-Session-Grpc-Method: ${method}`),
    ]);
    session.#serve(socket);
    return session;
  }

  /** The same inside a call of the control service. */
  static openInside(calls: PeerControl, options: PeerSessionOptions): PeerSession {
    const session = new PeerSession(options);
    const tunnel = calls.tunnel({
      "x-docker-expose-session-uuid": session.id,
      "x-docker-expose-session-grpc-method": "/moby.filesync.v1.FileSync/DiffCopy",
    });
    session.#serve(tunnel);
    return session;
  }

  [Symbol.dispose](): void {
    this.#socket?.destroy();
  }

  #serve(socket: Duplex): void {
    this.#socket = socket;
    const server = createServer();
    server.on("sessionError", () => {});
    server.on("stream", (stream: ServerHttp2Stream, headers) => {
      const path = String(headers[":path"]);
      this.calls.push(path);
      stream.on("error", () => {});
      if (path.endsWith(".FileSend/DiffCopy")) {
        if (this.options.takes === "file") takeFile(stream, this.output);
        else takeFolder(stream, this.output);
      } else if (path.endsWith("/DiffCopy")) this.#sendFolder(stream, headers);
      else if (path.endsWith("/GetSecret")) this.#secret(stream);
      else if (path.endsWith("/Credentials")) this.#login(stream);
      else refuse(stream, 12, `unknown method ${path}`);
    });
    server.emit("connection", socket);
  }

  #login(stream: ServerHttp2Stream): void {
    const { host, user, password } = this.options.login ?? { host: "", user: "", password: "" };
    const unframer = new Unframer();
    stream.on("data", (chunk: Buffer) => {
      for (const message of unframer.push(chunk)) {
        const isHost = new WireReader(message).text(1) === host;
        const found: WireMessage = [
          [1, user],
          [2, password],
        ];
        answer(stream, framed(toWire(isHost ? found : [])));
      }
    });
  }

  #secret(stream: ServerHttp2Stream): void {
    const unframer = new Unframer();
    stream.on("data", (chunk: Buffer) => {
      for (const message of unframer.push(chunk)) {
        const id = new WireReader(message).text(1);
        const value = this.options.secrets?.[id];
        if (value === undefined) refuse(stream, 5, `secret ${id} not found`);
        else answer(stream, framed(toWire([[1, value]])));
      }
    });
  }

  #sendFolder(stream: ServerHttp2Stream, headers: Record<string, unknown>): void {
    const name = String(headers["dir-name"]);
    const root = this.options.folders?.[name];
    if (root === undefined) return refuse(stream, 5, `no access allowed to dir "${name}"`);
    this.patterns.push({ name, include: headers["include-patterns"], exclude: headers["exclude-patterns"] });
    stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    const files: string[] = [];
    const include = String(headers["include-patterns"] ?? "")
      .split(", ")
      .filter((pattern) => pattern !== "");
    for (const path of walk(root, "")) {
      if (include.length > 0 && !include.includes(path)) continue;
      files.push(path);
      stream.write(
        framed(
          toWire([
            [1, 0],
            [2, this.#stat(root, path)],
          ]),
        ),
      );
    }
    stream.write(framed(toWire([[1, 0]])));
    const unframer = new Unframer();
    stream.on("data", (chunk: Buffer) => {
      for (const message of unframer.push(chunk)) {
        const packet = new WireReader(message);
        if (packet.integer(1) === 1)
          this.#sendFile(stream, { root, path: files[packet.integer(3)] ?? "", id: packet.integer(3) });
        if (packet.integer(1) === 3) {
          stream.write(framed(toWire([[1, 3]])));
          stream.end();
        }
      }
    });
  }

  #stat(root: string, path: string): WireMessage {
    const stat = lstatSync(join(root, path), { bigint: true });
    const kind = stat.isDirectory() ? 2 ** 31 : stat.isSymbolicLink() ? 2 ** 27 : stat.isFIFO() ? 2 ** 25 : 0;
    const forged = this.options.forge?.(path);
    return [
      [1, forged?.path ?? path],
      [2, kind + Number(stat.mode & 0o777n)],
      [5, forged?.size ?? (stat.isFile() ? stat.size : 0n)],
      [6, stat.mtimeNs],
      ...(stat.isSymbolicLink() ? [[7, readlinkSync(join(root, path))] as const] : []),
    ];
  }

  #sendFile(stream: ServerHttp2Stream, { root, path, id }: { root: string; path: string; id: number }): void {
    this.requested.push(path);
    const fd = openSync(join(root, path), "r");
    const piece = Buffer.alloc(32 * 1024);
    for (let length; (length = readSync(fd, piece)) > 0;) {
      stream.write(
        framed(
          toWire([
            [1, 2],
            [3, id],
            [4, Buffer.from(piece.subarray(0, length))],
          ]),
        ),
      );
    }
    closeSync(fd);
    stream.write(
      framed(
        toWire([
          [1, 2],
          [3, id],
        ]),
      ),
    );
  }
}

/** A folder in the order that the protocol wants: names bytewise, each folder's content right behind it. */
function* walk(root: string, below: string): Generator<string> {
  const names = readdirSync(join(root, below)).toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  for (const name of names) {
    const path = below === "" ? name : `${below}/${name}`;
    yield path;
    if (lstatSync(join(root, path)).isDirectory()) yield* walk(root, path);
  }
}

function answer(stream: ServerHttp2Stream, body: Buffer): void {
  stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
  stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
  stream.end(body);
}

function refuse(stream: ServerHttp2Stream, code: number, message: string): void {
  stream.respond(
    {
      ":status": 200,
      "content-type": "application/grpc",
      "grpc-status": String(code),
      "grpc-message": encodeURIComponent(message),
    },
    { endStream: true },
  );
}

const control = "/moby.buildkit.v1.Control";
const bridge = "/moby.buildkit.v1.frontend.LLBBridge";

export interface PeerBuild {
  readonly response: Record<string, string>;
  /** Names of vertices in the order in which they were first told, and what they printed. */
  readonly vertices: readonly { name: string; cached: boolean; error: string }[];
  readonly output: string;
  readonly looked: unknown;
}

type PeerCall = (method: string, message: WireMessage) => Promise<WireReader>;

export interface PeerBuildOptions extends PeerSessionOptions {
  /** Where the cache goes: `type` and its attributes. */
  readonly cacheTo?: Readonly<Record<string, string>>;
  readonly frontendOptions?: Readonly<Record<string, string>>;
  readonly exporter?: Readonly<Record<string, string>>;
  /** "" exports nothing. */
  readonly exporterType?: string;
  /** What the frontend says beside its result. */
  readonly onMetadata?: (metadata: Record<string, string>) => void;
  /** Names the Dockerfile frontend in Solve itself, where buildx drives the gateway. */
  readonly direct?: boolean;
  readonly signal?: AbortSignal;
  /** Looks into the result before it is returned, by calls that name it. */
  readonly look?: (call: PeerCall, bridge: PeerCall) => Promise<unknown>;
  /** Graphs that the frontend may start from. */
  readonly inputs?: Readonly<Record<string, WireMessage>>;
  /** Takes the result's own graph. */
  readonly onGraph?: (graph: WireMessage) => void;
  readonly onSession?: (session: PeerSession) => void;
}

/** One build as buildx does it: an empty frontend, the gateway's Ping, Solve and Return beside it, and Status. */
export async function peerBuild(socketPath: string, options: PeerBuildOptions): Promise<PeerBuild> {
  using session = await PeerSession.open(socketPath, options);
  options.onSession?.(session);
  using calls = await PeerControl.open(socketPath);
  const ref = crypto.randomUUID();
  const watched = new StatusRecord();
  // Its own failure would only hide the build's.
  const status = calls.listen(`${control}/Status`, [[1, ref]], { take: (one) => watched.take(one) }).catch(() => {});
  const frontend = wireMap(7, options.frontendOptions ?? {});
  const exporter: WireMessage = [[1, options.exporterType ?? "moby"], ...wireMap(2, options.exporter ?? {})];
  const solve = calls.listen(
    `${control}/Solve`,
    [
      [1, ref],
      [5, session.id],
      ...(options.direct ? [[6, "dockerfile.v0"] as const, ...frontend] : []),
      ...(options.exporterType === "" ? [] : [[13, exporter] as const]),
      ...(options.cacheTo === undefined ? [] : [[8, [[4, cacheEntry(options.cacheTo)] as const]] as const]),
    ],
    { take: (one) => void Object.assign(response, one.map(1)), ...(options.signal ? { signal: options.signal } : {}) },
  );
  const response: Record<string, string> = {};
  solve.catch(() => {});
  const looked = options.direct ? undefined : await driveGateway(calls, { ref, options });
  await solve;
  await status;
  return { response, looked, ...watched.told };
}

function cacheEntry(attributes: Readonly<Record<string, string>>): WireMessage {
  const { type = "", ...others } = attributes;
  return [[1, type], ...wireMap(2, others)];
}

async function driveGateway(
  calls: PeerControl,
  { ref, options }: { ref: string; options: PeerBuildOptions },
): Promise<unknown> {
  const headers = { "buildkit-controlapi-buildid": ref };
  const pong = await calls.one(`${bridge}/Ping`, [], headers);
  const capabilities = pong.messages(1).map((one) => one.text(1));
  if (!capabilities.includes("return")) throw new Error(`The gateway cannot return: ${capabilities.join(" ")}`);
  try {
    const solved = await calls.one(
      `${bridge}/Solve`,
      [
        [2, "dockerfile.v0"],
        ...wireMap(3, options.frontendOptions ?? {}),
        [5, true],
        [6, true],
        ...Object.entries(options.inputs ?? {}).map(([name, graph]): WireMessage[number] => [
          13,
          [
            [1, name],
            [2, graph],
          ],
        ]),
      ],
      headers,
    );
    options.onMetadata?.(solved.message(3)?.map(10) ?? {});
    const result = solved.bytes(3) ?? Buffer.alloc(0);
    const id = new WireReader(result).message(3)?.text(1) ?? "";
    const reference = new WireReader(result).message(3)?.message(2);
    options.onGraph?.([1, 2].flatMap((number) => (reference?.all(number) ?? []).map((one) => [number, one] as const)));
    const ask: PeerCall = (method, message) => calls.one(`${bridge}/${method}`, message, headers);
    const looked = await options.look?.((method, message) => ask(method, [[1, id], ...message]), ask);
    await calls.one(`${bridge}/Return`, [[1, result]], headers);
    return looked;
  } catch (error) {
    const failure = error as GrpcFailure;
    await calls
      .one(
        `${bridge}/Return`,
        [[2, [[1, failure.code], [2, failure.message], ...failure.details.map(({ wire }) => [3, wire] as const)]]],
        headers,
      )
      .catch(() => {});
  }
}

/** What Status told, by vertex. */
export class StatusRecord extends EventEmitter {
  readonly #vertices = new Map<string, { name: string; cached: boolean; error: string }>();
  #output = "";

  take(response: WireReader): void {
    for (const vertex of response.messages(1)) {
      const digest = vertex.text(1);
      const entry = { name: vertex.text(3), cached: vertex.integer(4) === 1, error: vertex.text(7) };
      this.#vertices.set(digest, entry);
      this.emit("vertex", entry);
    }
    for (const log of response.messages(3)) this.#output += log.text(4);
  }

  get told(): { vertices: { name: string; cached: boolean; error: string }[]; output: string } {
    return { vertices: [...this.#vertices.values()], output: this.#output };
  }
}
