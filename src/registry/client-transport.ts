import { EngineError } from "../common/index.ts";
import { RegistryAuth } from "./client-auth.ts";
import { registryFailure } from "./client-errors.ts";
import { isInsecure, tlsOptionsFor, type Credentials, type RegistrySettings } from "./client-settings.ts";

const maxAttempts = 5;
const firstBackOffMs = 200;
const maxWaitMs = 60_000;
const maxRedirects = 10;
/** Without an answer's head, or without any byte of its body, for so long: the connection is given up. */
export const idleTimeoutMs = 60_000;
const probeTimeoutMs = 5000;
const passingStatuses = [408, 429, 500, 502, 503, 504];
const redirectStatuses = [301, 302, 303, 307, 308];
export const dockerHubDomain = "docker.io";
const dockerHubHost = "registry-1.docker.io";

export interface RegistryRequest {
  readonly method: "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** Path below the registry, `/v2/…`, or a whole URL that it named. */
  readonly target: string;
  /** `repository:app:pull,push`, …: what a token must allow. */
  readonly scopes: readonly string[];
  readonly headers?: Readonly<Record<string, string>>;
  /** Made anew for every attempt. */
  readonly body?: () => Uint8Array | AsyncIterable<Uint8Array>;
  /** Statuses that are answers, beside 2xx; any other throws. */
  readonly accept?: readonly number[];
  /** 1 for what may not be sent twice. */
  readonly attempts?: number;
  readonly signal?: AbortSignal | undefined;
}

/** HTTP to one registry as one user: authorisation, redirects, retries. One for each pull or push. */
export class RegistryTransport {
  readonly #domain: string;
  readonly #settings: RegistrySettings;
  readonly #auth: RegistryAuth;
  #base: Promise<URL> | undefined;

  constructor(options: {
    domain: string;
    settings: RegistrySettings;
    credentials?: Credentials | undefined;
    isLogin?: boolean;
    /** Where it is, when that is known. */
    base?: URL;
  }) {
    this.#domain = options.domain === dockerHubDomain ? dockerHubHost : options.domain;
    this.#settings = options.settings;
    if (options.base) this.#base = Promise.resolve(options.base);
    const { credentials = {}, isLogin = false } = options;
    this.#auth = new RegistryAuth(credentials, { isLogin, fetch: (url, init) => this.#fetch(url, init) });
  }

  /** What a token server gave in place of the password, if it did. */
  get refreshToken(): string | undefined {
    return this.#auth.refreshToken;
  }

  /**
   * Sends a request until it has an answer that counts. What may pass (no connection, 429, 5xx) is tried again with growing
   * waits, or after the registry's own `Retry-After`. The caller reads or cancels the body.
   */
  async send(request: RegistryRequest): Promise<Response> {
    const base = await this.base();
    const attempts = request.attempts ?? maxAttempts;
    for (let attempt = 1; ; attempt++) {
      let response: Response | undefined;
      try {
        response = await this.#authorized(request, base);
      } catch (error) {
        request.signal?.throwIfAborted();
        if (error instanceof EngineError) throw error;
        if (attempt >= attempts || isUnknownHost(error)) throw unreachable(request, { base, error });
      }
      if (response && (response.ok || request.accept?.includes(response.status))) return response;
      const wait = waitMs(response, attempt);
      const isLast = attempt >= attempts || wait > maxWaitMs;
      if (response && (isLast || !passingStatuses.includes(response.status))) {
        throw await registryFailure(response, describe(request, base));
      }
      await response?.body?.cancel();
      await pause(wait, request.signal);
    }
  }

  /** Where the registry is: `https://host`, or `http://host` for an insecure one that speaks no TLS. */
  base(): Promise<URL> {
    return (this.#base ??= this.#findBase());
  }

  async #findBase(): Promise<URL> {
    const secure = new URL(`https://${this.#domain}`);
    if (!isInsecure(this.#domain, this.#settings)) return secure;
    try {
      const response = await this.#fetch(
        new URL("/v2/", secure),
        { method: "GET", headers: {} },
        AbortSignal.timeout(probeTimeoutMs),
      );
      await response.body?.cancel();
      return secure;
    } catch {
      // No TLS there, or nobody: the first request by plain HTTP tells which.
      return new URL(`http://${this.#domain}`);
    }
  }

  async #authorized(request: RegistryRequest, base: URL): Promise<Response> {
    const shown = this.#auth.known(request.scopes);
    const response = await this.#follow(request, { base, authorization: shown });
    const challenge = response.headers.get("www-authenticate");
    if (response.status !== 401 || challenge === null) return response;
    const answer = await this.#auth.answer(challenge, {
      scopes: request.scopes,
      shown,
      what: describe(request, base),
      registry: base,
    });
    if (answer === undefined) return response;
    await response.body?.cancel();
    return this.#follow(request, { base, authorization: answer });
  }

  /** Redirects are followed here, so that what authorises at the registry is shown to nobody else. */
  async #follow(
    request: RegistryRequest,
    { base, authorization }: { base: URL; authorization: string | undefined },
  ): Promise<Response> {
    let url = new URL(request.target, base);
    for (let hop = 0; hop <= maxRedirects; hop++) {
      const own = url.origin === base.origin && authorization !== undefined;
      const headers = { ...request.headers, ...(own ? { Authorization: authorization } : {}) };
      const body = request.body?.();
      const response = await this.#fetch(
        url,
        { method: request.method, headers, ...(body ? { body } : {}) },
        request.signal,
      );
      const location = response.headers.get("location");
      if (!redirectStatuses.includes(response.status) || location === null) return response;
      await response.body?.cancel();
      url = this.#redirected(url, location);
    }
    throw new EngineError("unavailable", `${describe(request, base)}: stopped after ${maxRedirects} redirects`);
  }

  #redirected(from: URL, location: string): URL {
    const to = new URL(location, from);
    if (!/^https?:$/.test(to.protocol)) {
      throw new EngineError("permissionDenied", `The registry redirects to "${to.protocol}", which is not HTTP`);
    }
    if (to.protocol === "http:" && from.protocol === "https:" && !isInsecure(to.host, this.#settings)) {
      throw new EngineError(
        "permissionDenied",
        `The registry redirects from https to plain HTTP at "${to.host}", which is not an insecure registry`,
      );
    }
    return to;
  }

  async #fetch(
    url: URL,
    init: { method: string; headers: Record<string, string>; body?: string | Uint8Array | AsyncIterable<Uint8Array> },
    signal?: AbortSignal,
  ): Promise<Response> {
    signal?.throwIfAborted();
    // Bun's own options: blobs must come as they are, and a large one may take long.
    const options = {
      ...init,
      headers: { "User-Agent": "vitrine", "Accept-Encoding": "identity", ...init.headers },
      redirect: "manual",
      decompress: false,
      timeout: false,
      ...(url.protocol === "https:" ? { tls: tlsOptionsFor(url.host, this.#settings) } : {}),
      ...(signal ? { signal } : {}),
    };
    return fetch(url, options as unknown as RequestInit);
  }
}

/** Resolves after that long; throws `cancelled` when the work is given up meanwhile. */
export async function pause(durationMs: number, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted();
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(done, durationMs);
    function done(): void {
      signal?.removeEventListener("abort", stop);
      resolve();
    }
    function stop(): void {
      clearTimeout(timer);
      reject(signal?.reason as Error);
    }
    signal?.addEventListener("abort", stop, { once: true });
  });
}

/** Grows with each attempt; half of it is chance, so that many clients do not come back together. */
export function backOffMs(attempt: number): number {
  const full = firstBackOffMs * 2 ** (attempt - 1);
  return full / 2 + (Math.random() * full) / 2;
}

function waitMs(response: Response | undefined, attempt: number): number {
  const header = response?.headers.get("retry-after") ?? "";
  if (/^\d+$/.test(header)) return Number(header) * 1000;
  const date = Date.parse(header);
  return Number.isNaN(date) ? backOffMs(attempt) : Math.max(0, date - Date.now());
}

/** As Go's client words it; a query may carry secrets, and is left out. */
function describe(request: RegistryRequest, base: URL): string {
  const url = new URL(request.target, base);
  const method = request.method[0] + request.method.slice(1).toLowerCase();
  return `${method} "${url.origin}${url.pathname}"`;
}

/** No wait makes a name known. */
function isUnknownHost(error: unknown): boolean {
  return (error as { code?: unknown }).code === "ENOTFOUND" || String(error).includes("ENOTFOUND");
}

/** As Docker says it, where Bun's words are its own. */
function inWords(error: unknown, base: URL): string {
  const { hostname, host, port, protocol } = askedOf(error) ?? base;
  if (isUnknownHost(error)) return `lookup ${hostname}: no such host`;
  if ((error as { code?: unknown }).code === "ECONNREFUSED") {
    const address = port === "" ? `${host}:${protocol === "https:" ? 443 : 80}` : host;
    return `dial tcp ${address}: connect: connection refused`;
  }
  return error instanceof Error ? error.message : String(error);
}

/** Bun's errors name what was asked, which redirects may have made another host. */
function askedOf(error: unknown): URL | undefined {
  const { path } = error as { path?: unknown };
  return typeof path === "string" && URL.canParse(path) ? new URL(path) : undefined;
}

function unreachable(request: RegistryRequest, { base, error }: { base: URL; error: unknown }): EngineError {
  return new EngineError("unavailable", `${describe(request, base)}: ${inWords(error, base)}`, { cause: error });
}
