import { chmodSync, rmSync } from "node:fs";
import { createServer as createHttpServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { connect, type Socket } from "node:net";
import { EngineError, orGone, toEngineError } from "../common/index.ts";
import type { Engine } from "../engine/index.ts";
import { hijack } from "./hijack.ts";
import { httpStatus } from "./http-status.ts";
import { frame, multiplexedStreamType, rawStreamType } from "./multiplex.ts";
import type { ApiReply } from "./reply.ts";
import { ApiRequest } from "./request.ts";
import { Router } from "./router.ts";
import { buildRoutes } from "./routes/build.ts";
import { buildkitRoutes, lazyBuildkit } from "./routes/buildkit.ts";
import { commitRoutes } from "./routes/commit.ts";
import { containerFileRoutes } from "./routes/container-files.ts";
import { containerIoRoutes } from "./routes/container-io.ts";
import { containerRoutes } from "./routes/containers.ts";
import { imageRoutes } from "./routes/images.ts";
import { registryRoutes } from "./routes/registries.ts";
import { systemRoutes } from "./routes/system.ts";
import { vitrineRoutes } from "./routes/vitrine.ts";
import { volumeAndNetworkRoutes } from "./routes/volumes-and-networks.ts";
import { apiVersion } from "./versions.ts";

export interface ServerOptions {
  readonly engine: Engine;
  /** Unix socket, made with mode 0660 and owned by the daemon's user. */
  readonly socketPath: string;
  /** Told of every internal failure, for the daemon's log. */
  readonly onInternalError?: (error: EngineError, request: string) => void;
}

/** The Docker Engine API on a unix socket. `close` ends every connection. */
export interface ApiServer {
  close(): Promise<void>;
}

const maxHeaderBytes = 64 * 1024;

/** Listens; throws conflict when another daemon answers on the socket, and replaces a socket that nobody serves. */
export async function createServer(options: ServerOptions): Promise<ApiServer> {
  await removeDeadSocket(options.socketPath);
  const router = createRouter(options.engine);
  const server = createHttpServer({ maxHeaderSize: maxHeaderBytes, requestTimeout: 0, headersTimeout: 60_000 });
  const connections = new Set<Socket>();
  server.on("connection", (socket) => {
    connections.add(socket);
    socket.on("close", () => connections.delete(socket));
  });
  server.on("request", (request, response) => void answer(router, options, request, response));
  server.on("upgrade", (request, socket, head) => {
    // What came together with the request belongs to the protocol that follows.
    if (head.length > 0) socket.unshift(head);
    void answerUpgrade(router, options, request, socket as Socket);
  });
  await listen(server, options.socketPath);
  chmodSync(options.socketPath, 0o660);
  return {
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of connections) socket.destroy();
      await closed;
      rmSync(options.socketPath, { force: true });
    },
  };
}

function createRouter(engine: Engine): Router {
  const router = new Router();
  const buildkit = lazyBuildkit(engine);
  for (const routes of [
    systemRoutes(engine),
    containerRoutes(engine),
    containerIoRoutes(engine),
    containerFileRoutes(engine),
    commitRoutes(engine),
    imageRoutes(engine),
    registryRoutes(engine),
    buildRoutes(engine, buildkit),
    buildkitRoutes(buildkit),
    volumeAndNetworkRoutes(engine),
    vitrineRoutes(engine),
  ]) {
    router.add(routes);
  }
  return router;
}

async function removeDeadSocket(path: string): Promise<void> {
  const alive = await new Promise<boolean>((resolve) => {
    const probe = connect(path);
    probe.on("connect", () => {
      probe.destroy();
      resolve(true);
    });
    probe.on("error", () => resolve(false));
  });
  if (alive)
    throw new EngineError(
      "conflict",
      `Another engine already serves "${path}": stop it, or give this one another --host`,
    );
  rmSync(path, { force: true });
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error) =>
      reject(new EngineError("unavailable", `Cannot listen on "${path}": ${error.message}`, { cause: error })),
    );
    server.listen(path, () => resolve());
  });
}

async function route(
  router: Router,
  message: IncomingMessage,
  options: { signal: AbortSignal; upgrade: boolean },
): Promise<ApiReply> {
  const url = new URL(message.url ?? "/", "http://engine");
  const method = message.method ?? "GET";
  const found = router.find(method, url.pathname);
  const { parameters, version } = found;
  const { headers } = message;
  const request = new ApiRequest({
    method,
    parameters,
    version,
    query: url.searchParams,
    headers,
    body: message,
    ...options,
  });
  return found.route(request);
}

async function answer(
  router: Router,
  options: ServerOptions,
  message: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const gone = new AbortController();
  response.on("close", () => gone.abort());
  response.setHeader("Api-Version", apiVersion);
  response.setHeader("Ostype", "linux");
  response.setHeader("Server", "Vitrine (linux)");
  try {
    await send(response, await route(router, message, { signal: gone.signal, upgrade: false }), gone.signal);
  } catch (thrown) {
    sendError(response, noticed(thrown, options, message));
  }
}

function noticed(thrown: unknown, options: ServerOptions, message: IncomingMessage): EngineError {
  const error = toEngineError(thrown);
  if (error.code === "internal") options.onInternalError?.(error, `${message.method} ${message.url}`);
  return error;
}

function sendError(response: ServerResponse, error: EngineError): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const status = httpStatus(error.code, error.data);
  if (status === 304) {
    response.writeHead(304).end();
    return;
  }
  response
    .writeHead(status, { "Content-Type": "application/json" })
    .end(`${JSON.stringify({ message: error.message })}\n`);
}

async function send(response: ServerResponse, reply: ApiReply, signal: AbortSignal): Promise<void> {
  switch (reply.kind) {
    case "json":
      response
        .writeHead(reply.status, { "Content-Type": "application/json", ...reply.headers })
        .end(`${JSON.stringify(reply.body)}\n`);
      return;
    case "text":
      response
        .writeHead(reply.status, { "Content-Type": "text/plain; charset=utf-8", ...reply.headers })
        .end(reply.body);
      return;
    case "empty":
      response.writeHead(reply.status, { "Content-Length": "0", ...reply.headers }).end();
      return;
    case "stream":
      await sendStream(response, reply, signal);
      return;
    case "takeover":
      throw new EngineError("invalidArgument", "The request asks for no upgrade of its connection");
    case "hijack": {
      // A client that did not ask for an upgrade is fed the output as an ordinary body, which needs no input.
      using session = reply.session;
      const body = outputBytes(session);
      await sendStream(
        response,
        { kind: "stream", contentType: session.tty ? rawStreamType : multiplexedStreamType, body, eager: true },
        signal,
      );
    }
  }
}

async function* outputBytes(session: {
  tty: boolean;
  output: AsyncIterable<import("../engine/index.ts").OutputChunk>;
}): AsyncGenerator<Uint8Array> {
  for await (const chunk of session.output) yield session.tty ? chunk.data : frame(chunk);
}

async function sendStream(
  response: ServerResponse,
  reply: Extract<ApiReply, { kind: "stream" }>,
  signal: AbortSignal,
): Promise<void> {
  const iterator = reply.body[Symbol.asyncIterator]();
  let pending = iterator.next();
  const head = (): void => {
    if (response.headersSent) return;
    response.writeHead(200, { "Content-Type": reply.contentType, ...reply.headers });
    response.flushHeaders();
  };
  if (reply.eager) head();
  try {
    for (;;) {
      const result = await orGone(pending, signal);
      if (result === "gone") break;
      head();
      if (result.done) break;
      if (!response.write(result.value)) {
        const drained = new Promise<void>((resolve) => response.once("drain", () => resolve()));
        if ((await orGone(drained, signal)) === "gone") break;
      }
      pending = iterator.next();
    }
    response.end();
  } finally {
    pending.catch(() => {});
    void Promise.resolve(iterator.return?.()).catch(() => {});
  }
}

async function answerUpgrade(
  router: Router,
  options: ServerOptions,
  message: IncomingMessage,
  socket: Socket,
): Promise<void> {
  const gone = new AbortController();
  socket.on("close", () => gone.abort());
  socket.on("error", () => gone.abort());
  try {
    const reply = await route(router, message, { signal: gone.signal, upgrade: true });
    if (reply.kind === "hijack")
      await hijack(socket, reply, { signal: gone.signal, upgrade: String(message.headers.upgrade ?? "tcp") });
    else if (reply.kind === "takeover") {
      socket.write(`HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: ${reply.upgrade}\r\n\r\n`);
      await reply.serve(socket);
    } else writePlain(socket, reply);
  } catch (thrown) {
    const error = noticed(thrown, options, message);
    writePlain(socket, { kind: "json", status: httpStatus(error.code, error.data), body: { message: error.message } });
  }
}

/** An answer on a connection whose client asked for an upgrade but gets none. */
function writePlain(socket: Socket, reply: ApiReply): void {
  const status = "status" in reply ? reply.status : 500;
  const body = reply.kind === "json" ? `${JSON.stringify(reply.body)}\n` : "";
  const reason = status < 300 ? "OK" : "Error";
  socket.end(
    `HTTP/1.1 ${status} ${reason}\r\nApi-Version: ${apiVersion}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}
