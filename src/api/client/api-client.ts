import { EngineError } from "../../common/index.ts";
import { type EngineAddress, formatAddress } from "./address.ts";
import { ByteSocket } from "./byte-socket.ts";
import { failureOf, readText } from "./failures.ts";
import { HijackedConnection } from "./hijacked.ts";
import { isDelimited, readBody, readResponseHead, type RequestBody, type ResponseHead, writeRequest } from "./http.ts";
import { readJsonLines } from "./json-lines.ts";

/** The newest API version this client speaks, and the oldest it can live with. */
export const clientApiVersion = "1.51";
const oldestApiVersion = "1.24";

const maxJsonBytes = 256 * 1024 * 1024;

export type Query = Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>;

export interface CallOptions {
  readonly query?: Query;
  /** Sent as JSON. */
  readonly body?: unknown;
  /** Sent as it is, in chunks: archives. */
  readonly upload?: AsyncIterable<Uint8Array>;
  readonly headers?: Readonly<Record<string, string>>;
  /** Aborting closes the connection; the call then throws cancelled. */
  readonly signal?: AbortSignal;
  /** Statuses besides 2xx that are answers rather than failures. */
  readonly accept?: readonly number[];
}

export interface Answer {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  /** Read to its end or `return` it: either frees the connection. */
  readonly body: AsyncIterable<Uint8Array>;
}

/**
 * A client of the Docker Engine API. The first call asks `/_ping` for the engine's API version and speaks the lower one.
 * Paths are given without version: `/containers/json`. Failures are EngineErrors with the engine's own message.
 */
export class ApiClient implements Disposable {
  readonly address: EngineAddress;
  #version: string | undefined;
  #ping: Promise<Ping> | undefined;
  #idle: ByteSocket | undefined;
  /** Connections of calls under way, so that closing leaves none behind. */
  readonly #busy = new Set<ByteSocket>();
  #closed = false;

  /** `apiVersion` (or DOCKER_API_VERSION by the caller) switches the negotiation off. */
  constructor(address: EngineAddress, options: { apiVersion?: string } = {}) {
    this.address = address;
    this.#version = options.apiVersion?.replace(/^v/, "");
  }

  /** What the engine says of itself; asked once. */
  ping(): Promise<Ping> {
    return (this.#ping ??= this.#askPing());
  }

  /** The API version that calls use. Throws unsupported when the engine is too old. */
  async apiVersion(): Promise<string> {
    if (this.#version !== undefined) return this.#version;
    const { apiVersion } = await this.ping();
    if (compareVersions(apiVersion, oldestApiVersion) < 0) {
      throw new EngineError(
        "unsupported",
        `The engine at ${formatAddress(this.address)} speaks API ${apiVersion}, older than ${oldestApiVersion}`,
      );
    }
    return (this.#version = compareVersions(apiVersion, clientApiVersion) < 0 ? apiVersion : clientApiVersion);
  }

  /** A JSON answer; undefined for an empty one. */
  async json<T>(method: string, path: string, options: CallOptions = {}): Promise<T> {
    const answer = await this.call(method, path, options);
    const text = await readText(answer.body, maxJsonBytes);
    return (text.trim() === "" ? undefined : JSON.parse(text)) as T;
  }

  get<T>(path: string, query?: Query): Promise<T> {
    return this.json<T>("GET", path, query ? { query } : {});
  }

  post<T = void>(path: string, options: CallOptions = {}): Promise<T> {
    return this.json<T>("POST", path, options);
  }

  delete<T = void>(path: string, query?: Query): Promise<T> {
    return this.json<T>("DELETE", path, query ? { query } : {});
  }

  /** A stream of JSON objects. */
  async *lines<T>(method: string, path: string, options: CallOptions = {}): AsyncGenerator<T> {
    const answer = await this.call(method, path, options);
    yield* readJsonLines<T>(answer.body);
  }

  /** Any call; a status of 400 and more throws. The body is a stream. */
  async call(method: string, path: string, options: CallOptions = {}): Promise<Answer> {
    const version = await this.apiVersion();
    return this.#send(method, `/v${version}${path}${formatQuery(options.query)}`, options);
  }

  /** A call that takes the connection over (`POST …/attach`, `POST /exec/{id}/start`). `tty`: whether output is one raw stream. */
  async hijack(path: string, options: CallOptions & { readonly tty: boolean }): Promise<HijackedConnection> {
    return new HijackedConnection(await this.upgrade(path, "tcp", options), options.tty);
  }

  /** A call whose connection speaks another protocol once the engine agreed. */
  async upgrade(path: string, protocol: string, options: CallOptions = {}): Promise<ByteSocket> {
    const version = await this.apiVersion();
    const target = `/v${version}${path}${formatQuery(options.query)}`;
    const socket = await ByteSocket.open(this.address);
    try {
      const headers = { Connection: "Upgrade", Upgrade: protocol };
      await writeRequest(
        socket,
        { method: "POST", target, headers: this.#headers(options, headers) },
        encodeBody(options),
      );
      const head = await readResponseHead(socket);
      if (head.status !== 101 && head.status !== 200)
        throw await failureOf(head.status, readBody(socket, head, "POST"));
      return socket;
    } catch (thrown) {
      socket.close();
      throw thrown;
    }
  }

  /** Ends every call that is under way, but no hijacked connection. */
  close(): void {
    this.#closed = true;
    this.#idle?.close();
    this.#idle = undefined;
    for (const socket of this.#busy) socket.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async #askPing(): Promise<Ping> {
    const answer = await this.#send("GET", "/_ping", {});
    await readText(answer.body, maxJsonBytes);
    return {
      apiVersion: answer.headers.get("api-version") ?? oldestApiVersion,
      osType: answer.headers.get("ostype") ?? "linux",
      server: answer.headers.get("server") ?? "",
      experimental: answer.headers.get("docker-experimental") === "true",
    };
  }

  #headers(options: CallOptions, more: Record<string, string> = {}): Record<string, string> {
    const host = this.address.kind === "unix" ? "vitrine" : `${this.address.host}:${this.address.port}`;
    const content =
      options.body !== undefined
        ? { "Content-Type": "application/json" }
        : options.upload
          ? { "Content-Type": "application/x-tar" }
          : {};
    return { Host: host, "User-Agent": "Vitrine-Client", ...content, ...more, ...options.headers };
  }

  async #send(method: string, target: string, options: CallOptions): Promise<Answer> {
    const socket = this.#takeIdle() ?? (await ByteSocket.open(this.address));
    this.#busy.add(socket);
    const abort = (): void => socket.close();
    options.signal?.addEventListener("abort", abort, { once: true });
    try {
      options.signal?.throwIfAborted();
      const head = await this.#exchange(socket, { method, target, headers: this.#headers(options) }, options);
      const body = this.#ownBody(socket, head, { method, options, abort });
      if (head.status >= 400 && !options.accept?.includes(head.status)) throw await failureOf(head.status, body);
      // Nobody reads a body that is none: an unread one would keep its connection, and the program, until the engine hangs up.
      if (method === "HEAD" || head.status === 204 || head.headers.get("content-length") === "0")
        await readText(body, 0);
      return { ...head, body };
    } catch (thrown) {
      options.signal?.removeEventListener("abort", abort);
      this.#busy.delete(socket);
      if (options.signal?.aborted) throw new EngineError("cancelled", "The call was cancelled", { cause: thrown });
      throw thrown;
    }
  }

  /** The engine may answer (and close) before it has read an upload whole: its answer tells more than our broken pipe. */
  async #exchange(
    socket: ByteSocket,
    head: { method: string; target: string; headers: Record<string, string> },
    options: CallOptions,
  ): Promise<ResponseHead> {
    try {
      const body = encodeBody(options);
      if (!options.upload) {
        await writeRequest(socket, head, body);
        return await readResponseHead(socket);
      }
      const failure = writeRequest(socket, head, body).then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      const answered = readResponseHead(socket);
      const sourceFailed = failure.then((thrown) => {
        const brokenPipe = thrown instanceof EngineError && thrown.code === "unavailable";
        return thrown === undefined || brokenPipe ? answered : Promise.reject(thrown);
      });
      return await Promise.race([answered, sourceFailed]);
    } catch (thrown) {
      socket.close();
      throw thrown;
    }
  }

  async *#ownBody(
    socket: ByteSocket,
    head: ResponseHead,
    use: { method: string; options: CallOptions; abort: () => void },
  ): AsyncGenerator<Uint8Array> {
    let whole = false;
    try {
      yield* readBody(socket, head, use.method);
      whole = true;
    } catch (thrown) {
      if (use.options.signal?.aborted) throw new EngineError("cancelled", "The call was cancelled", { cause: thrown });
      throw thrown;
    } finally {
      use.options.signal?.removeEventListener("abort", use.abort);
      const close = /close/i.test(head.headers.get("connection") ?? "");
      const reusable = whole && !close && isDelimited(head) && socket.isOpen && !use.options.upload;
      this.#busy.delete(socket);
      if (reusable && !this.#idle && !this.#closed) this.#idle = socket;
      else socket.close();
    }
  }

  #takeIdle(): ByteSocket | undefined {
    const socket = this.#idle;
    this.#idle = undefined;
    return socket?.isOpen ? socket : undefined;
  }
}

export interface Ping {
  readonly apiVersion: string;
  readonly osType: string;
  /** The engine's name, as its Server header has it; "" where it sends none. */
  readonly server: string;
  readonly experimental: boolean;
}

/** Negative when `left` is the older; versions are `major.minor`. */
export function compareVersions(left: string, right: string): number {
  const [leftMajor = 0, leftMinor = 0] = left.split(".").map(Number);
  const [rightMajor = 0, rightMinor = 0] = right.split(".").map(Number);
  return leftMajor - rightMajor || leftMinor - rightMinor;
}

/** A name or reference as a piece of a path: slashes stay, as engines expect of image names; dot segments are escaped. */
export function pathPart(name: string): string {
  return name
    .split("/")
    .map((segment) => (/^\.{1,2}$/.test(segment) ? segment.replaceAll(".", "%2E") : encodeURIComponent(segment)))
    .join("/")
    .replaceAll("%3A", ":")
    .replaceAll("%40", "@");
}

function encodeBody(options: CallOptions): RequestBody {
  if (options.upload) return options.upload;
  return options.body === undefined ? undefined : Buffer.from(JSON.stringify(options.body));
}

function formatQuery(query: Query | undefined): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value === undefined) continue;
    if (typeof value === "object") for (const item of value) parameters.append(name, item);
    else parameters.append(name, typeof value === "boolean" ? (value ? "1" : "0") : String(value));
  }
  const text = parameters.toString();
  return text === "" ? "" : `?${text}`;
}
