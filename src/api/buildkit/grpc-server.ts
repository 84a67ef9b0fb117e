import { once } from "node:events";
import { createServer, type Http2Session, type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import type { Duplex } from "node:stream";
import { EngineError } from "../../common/index.ts";
import { frameMessage, readMessages } from "./grpc-frames.ts";
import { statusOf, statusTrailers } from "./grpc-status.ts";
import type { Message } from "./protobuf.ts";

export interface GrpcCall {
  readonly headers: IncomingHttpHeaders;
  /** Aborts when the caller gave up or its connection is gone. */
  readonly signal: AbortSignal;
}

/** A method takes the caller's messages and yields its own; what it throws becomes the call's status. */
export type GrpcMethod = (requests: AsyncIterable<Uint8Array>, call: GrpcCall) => AsyncIterable<Uint8Array>;

/** By path: `/moby.buildkit.v1.Control/Solve`. */
export type GrpcMethods = Readonly<Record<string, GrpcMethod>>;

/** Room for data on its way in a stream. */
const windowBytes = 1024 * 1024;
/** Calls at once on one connection; a build has fewer than ten. */
const maxCalls = 200;

interface Types<Request, Response> {
  readonly request: Message<Request>;
  readonly response: Message<Response>;
}

export function unary<Request, Response>(
  types: Types<Request, Response>,
  handle: (request: Request, call: GrpcCall) => Promise<Partial<Response>> | Partial<Response>,
): GrpcMethod {
  return async function* (requests, call) {
    yield types.response.encode(await handle(await single(types.request, requests), call));
  };
}

export function serverStreaming<Request, Response>(
  types: Types<Request, Response>,
  handle: (request: Request, call: GrpcCall) => AsyncIterable<Partial<Response>>,
): GrpcMethod {
  return async function* (requests, call) {
    for await (const one of handle(await single(types.request, requests), call)) yield types.response.encode(one);
  };
}

export function bothStreaming<Request, Response>(
  types: Types<Request, Response>,
  handle: (requests: AsyncIterable<Request>, call: GrpcCall) => AsyncIterable<Partial<Response>>,
): GrpcMethod {
  return async function* (requests, call) {
    for await (const one of handle(decodeAll(types.request, requests), call)) yield types.response.encode(one);
  };
}

async function* decodeAll<Value>(type: Message<Value>, messages: AsyncIterable<Uint8Array>): AsyncGenerator<Value> {
  for await (const one of messages) yield type.decode(one);
}

async function single<Value>(type: Message<Value>, messages: AsyncIterable<Uint8Array>): Promise<Value> {
  for await (const one of messages) return type.decode(one);
  throw new EngineError("invalidArgument", "The call ended before its message");
}

/** Serves gRPC on one connection until it closes. Calls that are under way then are aborted. */
export async function serveGrpc(connection: Duplex, methods: GrpcMethods): Promise<void> {
  const server = createServer({ settings: { initialWindowSize: windowBytes, maxConcurrentStreams: maxCalls } });
  const closed = Promise.withResolvers<void>();
  connection.on("close", () => closed.resolve());
  server.on("session", (session: Http2Session) => session.on("close", () => closed.resolve()));
  server.on("sessionError", () => connection.destroy());
  let calls = 0;
  server.on("stream", (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    // A client that does not keep to what it was told of calls at once is none of those that build.
    if (calls >= maxCalls) return connection.destroy();
    calls += 1;
    stream.on("close", () => (calls -= 1));
    void answer(stream, { methods, headers });
  });
  server.emit("connection", connection);
  await closed.promise;
  connection.destroy();
}

async function answer(
  stream: ServerHttp2Stream,
  { methods, headers }: { methods: GrpcMethods; headers: IncomingHttpHeaders },
): Promise<void> {
  const gone = new AbortController();
  stream.on("close", () => gone.abort());
  stream.on("aborted", () => gone.abort());
  // A stream that is reset tells it by "close"; without a listener its error would end the daemon.
  stream.on("error", () => gone.abort());
  const path = String(headers[":path"] ?? "");
  const method = Object.hasOwn(methods, path) ? methods[path] : undefined;
  const head = { ":status": 200, "content-type": "application/grpc" };
  try {
    if (!method) throw new EngineError("unsupported", `Method "${path}" is not served`);
    // A method may answer before it has read all; that must not take the stream down.
    const chunks = stream.iterator({ destroyOnReturn: false });
    const out = new Coalescing(stream, gone.signal);
    for await (const one of method(readMessages(chunks), { headers, signal: gone.signal })) {
      if (gone.signal.aborted) return;
      if (!stream.headersSent) stream.respond(head, { waitForTrailers: true });
      await out.write(frameMessage(one));
    }
    out.flush();
    finish(stream, { head, trailers: statusTrailers({ code: 0, message: "" }) });
  } catch (thrown) {
    finish(stream, { head, trailers: statusTrailers(statusOf(thrown)) });
  }
}

const pieceBytes = 32 * 1024;

/** Small messages that come together leave together: each write costs far more than its bytes. */
class Coalescing {
  #pending: Uint8Array[] = [];
  #pendingBytes = 0;
  #scheduled = false;

  constructor(
    private readonly stream: ServerHttp2Stream,
    private readonly signal: AbortSignal,
  ) {}

  /** Waits while the other side does not read. */
  async write(framed: Uint8Array): Promise<void> {
    this.#pending.push(framed);
    this.#pendingBytes += framed.length;
    if (this.#pendingBytes >= pieceBytes) {
      if (!this.flush()) await once(this.stream, "drain", { signal: this.signal }).catch(() => {});
      return;
    }
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.flush();
    });
  }

  /** False when the stream wants no more for now. */
  flush(): boolean {
    if (this.#pending.length === 0 || this.stream.destroyed || this.stream.writableEnded) return true;
    const [only] = this.#pending;
    const piece = only && this.#pending.length === 1 ? only : Buffer.concat(this.#pending);
    this.#pending = [];
    this.#pendingBytes = 0;
    return this.stream.write(piece);
  }
}

function finish(
  stream: ServerHttp2Stream,
  { head, trailers }: { head: Record<string, string | number>; trailers: Record<string, string> },
): void {
  if (stream.destroyed || stream.closed) return;
  if (!stream.headersSent) {
    stream.respond({ ...head, ...trailers }, { endStream: true });
    return;
  }
  stream.on("wantTrailers", () => stream.sendTrailers(trailers));
  stream.end();
}
