// One request for a URL that a Dockerfile or a client names: redirects, time-outs, tries again, words for people.
import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { EngineError, type ErrorCode } from "../common/index.ts";

/** Bounds of a download. */
export interface HttpLimits {
  readonly redirects: number;
  /** Without an answer's head, or without any byte of its body, for so long: given up. */
  readonly idleTimeoutMs: number;
  readonly attempts: number;
  readonly firstBackOffMs: number;
  readonly sizeBytes: number;
}

export const defaultHttpLimits: HttpLimits = {
  redirects: 10,
  idleTimeoutMs: 60_000,
  attempts: 4,
  firstBackOffMs: 250,
  sizeBytes: 32 * 1024 ** 3,
};

const redirectStatuses = new Set([301, 302, 303, 307, 308]);
const passingStatuses = new Set([408, 425, 429, 500, 502, 503, 504]);
const codes: Readonly<Record<number, ErrorCode>> = {
  401: "unauthenticated",
  403: "permissionDenied",
  404: "notFound",
  410: "notFound",
};

export interface HttpRequest {
  readonly method: "GET" | "HEAD";
  readonly url: URL;
  readonly headers?: Readonly<Record<string, string>>;
  /** Value of an `Authorization` header: shown to the URL's own origin only. */
  readonly authorization?: string | undefined;
  readonly limits: HttpLimits;
  readonly signal?: AbortSignal | undefined;
}

/**
 * A URL that may be downloaded, its user and password taken out. Throws `invalidArgument` for any other scheme than http and
 * https: `file:` and the like would read the engine's own machine.
 */
export function parseHttpUrl(text: string): { url: URL; authorization?: string } {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw new EngineError("invalidArgument", `"${text}" is no URL`);
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    throw new EngineError("invalidArgument", `Cannot download "${shownUrl(url)}": only http and https are downloaded`);
  }
  const user = decodeURIComponent(url.username);
  const password = decodeURIComponent(url.password);
  url.username = url.password = url.hash = "";
  if (user === "" && password === "") return { url };
  return { url, authorization: `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}` };
}

/** The URL as errors and logs may show it: a user, a password and a query may be secrets. */
export function shownUrl(url: URL): string {
  return `${url.protocol}//${url.host}${url.pathname}`;
}

/**
 * Sends until there is an answer that counts; 2xx and 304 are returned, anything else throws. A server of the outer world may
 * not lead to this machine or to its link (`127.…`, `169.254.…`), where it cannot be asked by itself; a URL that names such a
 * place is followed, for whoever builds may run programs here that ask it too.
 */
export async function sendHttp(request: HttpRequest): Promise<Response> {
  const { limits, signal } = request;
  for (let attempt = 1; ; attempt++) {
    let response: Response;
    try {
      response = await follow(request);
    } catch (error) {
      signal?.throwIfAborted();
      if (error instanceof EngineError) throw error;
      if (attempt >= limits.attempts || isUnknownHost(error)) throw unreachable(request.url, error);
      await pause(limits.firstBackOffMs * 2 ** (attempt - 1), signal);
      continue;
    }
    if (response.ok || response.status === 304) return response;
    await response.body?.cancel();
    if (attempt >= limits.attempts || !passingStatuses.has(response.status)) throw refused(request.url, response);
    await pause(limits.firstBackOffMs * 2 ** (attempt - 1), signal);
  }
}

async function follow(request: HttpRequest): Promise<Response> {
  const { limits } = request;
  let { url } = request;
  for (let hop = 0; hop <= limits.redirects; hop++) {
    const own = url.origin === request.url.origin && request.authorization !== undefined;
    const response = await once(request, { url, authorization: own ? request.authorization : undefined });
    const location = response.headers.get("location");
    if (!redirectStatuses.has(response.status) || location === null) return response;
    await response.body?.cancel();
    url = await redirected(request.url, { from: url, location });
  }
  throw new EngineError(
    "unavailable",
    `Cannot download "${shownUrl(request.url)}": it redirects more than ${limits.redirects} times`,
  );
}

async function once(
  { method, headers, limits, signal }: HttpRequest,
  { url, authorization }: { url: URL; authorization: string | undefined },
): Promise<Response> {
  signal?.throwIfAborted();
  const timeout = new AbortController();
  const timer = setTimeout(
    () => timeout.abort(new Error(`no answer within ${limits.idleTimeoutMs / 1000} s`)),
    limits.idleTimeoutMs,
  );
  // Bun's own options: a file must come as it is, and a large one may take long.
  const options = {
    method,
    headers: {
      "User-Agent": "vitrine",
      "Accept-Encoding": "identity",
      ...headers,
      ...(authorization === undefined ? {} : { Authorization: authorization }),
    },
    redirect: "manual",
    decompress: false,
    timeout: false,
    signal: signal ? AbortSignal.any([signal, timeout.signal]) : timeout.signal,
  };
  try {
    return await fetch(url, options as unknown as RequestInit);
  } catch (error) {
    if (timeout.signal.aborted) throw timeout.signal.reason;
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

async function redirected(first: URL, { from, location }: { from: URL; location: string }): Promise<URL> {
  const fail = (why: string): never => {
    throw new EngineError("permissionDenied", `Cannot download "${shownUrl(first)}": ${why}`);
  };
  if (!URL.canParse(location, from.href)) return fail(`it redirects to "${location}", which is no URL`);
  const to = new URL(location, from);
  if (to.protocol !== "http:" && to.protocol !== "https:") {
    return fail(`it redirects to "${to.protocol}", and only http and https are followed`);
  }
  if (to.protocol === "http:" && from.protocol === "https:") {
    return fail(`it redirects from https to plain HTTP at "${to.host}"`);
  }
  if (to.host !== first.host && (await isOwnPlace(to.hostname)) && !(await isOwnPlace(first.hostname))) {
    return fail(`it redirects to "${to.host}", which is this machine or its link`);
  }
  to.username = to.password = to.hash = "";
  return to;
}

/** Whether a name leads to loopback, link-local or unspecified addresses (RFC 6890). */
async function isOwnPlace(hostname: string): Promise<boolean> {
  const host = hostname.replace(/^\[(.*)\]$/, "$1");
  if (isIP(host) !== 0) return isOwnAddress(host);
  try {
    const addresses = await lookup(host, { all: true });
    return addresses.some(({ address }) => isOwnAddress(address));
  } catch {
    // What has no address is refused by the request itself, in its own words.
    return false;
  }
}

function isOwnAddress(address: string): boolean {
  const plain = address.toLowerCase().replace(/^::ffff:/, "");
  if (isIP(plain) === 4) return /^(127|0)\.|^169\.254\./.test(plain);
  return plain === "::1" || plain === "::" || /^fe[89ab]/.test(plain) || /^7f[0-9a-f]{2}:|^a9fe:/.test(plain);
}

/** The body's chunks; throws when none comes for too long, or when there are more bytes than `limits.sizeBytes`. */
export async function* httpBody(
  response: Response,
  { url, limits, signal }: Pick<HttpRequest, "url" | "limits" | "signal">,
): AsyncGenerator<Uint8Array> {
  const fail = (code: ErrorCode, why: string): EngineError =>
    new EngineError(code, `Cannot download "${shownUrl(url)}": ${why}`);
  const announced = Number(response.headers.get("content-length") ?? Number.NaN);
  const tooLarge = `it is larger than ${limits.sizeBytes} bytes`;
  const reader = response.body?.getReader();
  if (!reader) return;
  try {
    if (announced > limits.sizeBytes) throw fail("resourceExhausted", tooLarge);
    for (let sizeBytes = 0; ;) {
      let timer: Timer | undefined;
      const silence = new Promise<never>((_, reject) => {
        const why = `nothing came for ${limits.idleTimeoutMs / 1000} s`;
        timer = setTimeout(() => reject(fail("unavailable", why)), limits.idleTimeoutMs);
      });
      const { done, value } = await Promise.race([reader.read(), silence]).finally(() => clearTimeout(timer));
      signal?.throwIfAborted();
      if (done) {
        if (!Number.isNaN(announced) && sizeBytes < announced) {
          throw fail("unavailable", `it ended after ${sizeBytes} of ${announced} bytes`);
        }
        return;
      }
      sizeBytes += value.length;
      if (sizeBytes > limits.sizeBytes) throw fail("resourceExhausted", tooLarge);
      yield value;
    }
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof EngineError) throw error;
    throw fail("unavailable", error instanceof Error ? error.message : String(error));
  } finally {
    await reader.cancel().catch(() => {});
  }
}

async function pause(durationMs: number, signal: AbortSignal | undefined): Promise<void> {
  await Bun.sleep(durationMs);
  signal?.throwIfAborted();
}

function isUnknownHost(error: unknown): boolean {
  return String((error as { code?: unknown }).code).includes("ENOTFOUND") || String(error).includes("ENOTFOUND");
}

function unreachable(url: URL, error: unknown): EngineError {
  const words = error instanceof Error ? error.message : String(error);
  const known = words.includes("ECONNREFUSED") ? `connection to ${url.host} refused` : words;
  const why = isUnknownHost(error) ? `lookup ${url.hostname}: no such host` : known;
  return new EngineError("unavailable", `Cannot download "${shownUrl(url)}": ${why}`, { cause: error });
}

function refused(url: URL, { status, statusText }: Response): EngineError {
  const code = codes[status] ?? (status >= 500 ? "unavailable" : "invalidArgument");
  const words = `${status} ${statusText}`.trim();
  return new EngineError(code, `Cannot download "${shownUrl(url)}": the server answered ${words}`, {
    data: { status },
  });
}
