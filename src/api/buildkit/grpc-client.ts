import { once } from "node:events";
import {
  connect,
  constants,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
} from "node:http2";
import type { Duplex } from "node:stream";
import { EngineError } from "../../common/index.ts";
import { frameMessage, readMessages } from "./grpc-frames.ts";
import { errorOf, readStatus, type GrpcStatus } from "./grpc-status.ts";
import type { Message } from "./protobuf.ts";

/** Room for data on its way: in a stream, and in the whole connection. */
const windowBytes = 4 * 1024 * 1024;

export interface CallOptions {
  readonly signal?: AbortSignal;
  /** Lower-case names. */
  readonly headers?: OutgoingHttpHeaders;
}

/** A call whose both sides are streams. Disposal gives it up. */
export interface GrpcStream<Request, Response> extends Disposable {
  /** Waits while the other side does not read. */
  write(request: Partial<Request>): Promise<void>;
  /** No more will be written. */
  end(): void;
  /** Ends with the call; throws its status when that is an error. */
  readonly responses: AsyncIterable<Response>;
}

interface Types<Request, Response> {
  readonly request: Message<Request>;
  readonly response: Message<Response>;
}

/** The calling side of gRPC on a connection that somebody else opened. Close it, or its connection, to end all its calls. */
export class GrpcClient {
  readonly #session: ClientHttp2Session;
  readonly closed: Promise<void>;

  constructor(connection: Duplex) {
    this.#session = connect("http://session", {
      createConnection: () => connection,
      settings: { initialWindowSize: windowBytes, enablePush: false },
    });
    // Each call tells its own failure; this one would end the daemon.
    this.#session.on("error", () => {});
    this.#session.on("connect", () => this.#session.setLocalWindowSize?.(windowBytes));
    this.closed = new Promise((resolve) => {
      this.#session.on("close", () => resolve());
      connection.on("close", () => resolve());
    });
  }

  close(): void {
    this.#session.destroy();
  }

  /** One message there, one back. Throws the call's status, unavailable when the connection is gone. */
  async unary<Request, Response>(
    path: string,
    request: Partial<Request>,
    options: Types<Request, Response> & CallOptions,
  ): Promise<Response> {
    using call = this.stream(path, options);
    await call.write(request);
    call.end();
    let response: Response | undefined;
    for await (const one of call.responses) response ??= one;
    if (response === undefined) throw new EngineError("unavailable", `The call ${path} ended without an answer`);
    return response;
  }

  stream<Request, Response>(
    path: string,
    options: Types<Request, Response> & CallOptions,
  ): GrpcStream<Request, Response> {
    if (this.#session.closed || this.#session.destroyed) {
      throw new EngineError("unavailable", `The client is gone, so ${path} cannot be asked of it`);
    }
    const stream = this.#session.request({
      ":method": "POST",
      ":path": path,
      "content-type": "application/grpc",
      te: "trailers",
      ...options.headers,
    });
    const giveUp = (): void => stream.close(constants.NGHTTP2_CANCEL);
    options.signal?.addEventListener("abort", giveUp, { once: true });
    if (options.signal?.aborted) giveUp();
    const state = watch(stream);
    return {
      async write(request) {
        if (stream.destroyed || stream.writableEnded) return;
        if (stream.write(frameMessage(options.request.encode(request)))) return;
        await Promise.race([once(stream, "drain"), state.ended]).catch(() => {});
      },
      end: () => void stream.end(),
      responses: responsesOf(stream, { path, type: options.response, state, signal: options.signal }),
      [Symbol.dispose]() {
        options.signal?.removeEventListener("abort", giveUp);
        if (!stream.closed) giveUp();
      },
    };
  }
}

interface StreamState {
  /** Once headers or trailers told it. */
  status?: GrpcStatus;
  httpStatus?: number;
  failure?: Error;
  readonly ended: Promise<void>;
}

function watch(stream: ClientHttp2Stream): StreamState {
  const ended = Promise.withResolvers<void>();
  const state: StreamState = { ended: ended.promise };
  const note = (headers: IncomingHttpHeaders): void => {
    const status = readStatus(headers);
    if (status) state.status = status;
  };
  stream.on("response", (headers) => {
    state.httpStatus = Number(headers[":status"]);
    note(headers);
  });
  stream.on("trailers", note);
  stream.on("error", (error: Error) => {
    state.failure = error;
  });
  stream.on("close", () => ended.resolve());
  return state;
}

async function* responsesOf<Response>(
  stream: ClientHttp2Stream,
  options: { path: string; type: Message<Response>; state: StreamState; signal: AbortSignal | undefined },
): AsyncGenerator<Response> {
  const { path, type, state, signal } = options;
  try {
    for await (const one of readMessages(stream)) yield type.decode(one);
  } catch (thrown) {
    if (thrown instanceof EngineError) throw thrown;
    state.failure ??= thrown as Error;
  }
  if (signal?.aborted) throw new EngineError("cancelled", `The call ${path} was given up`);
  // Trailers may come after the last data was read.
  if (!state.status && !state.failure) await state.ended;
  if (state.status?.code === 0) return;
  if (state.status) throw errorOf(state.status);
  const why = state.failure?.message ?? (state.httpStatus === 200 ? "no status" : `HTTP status ${state.httpStatus}`);
  throw new EngineError("unavailable", `The call ${path} broke off: ${why}`);
}
