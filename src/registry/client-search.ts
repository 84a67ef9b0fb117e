// Docker's index API (/v1/search), and the distribution specification's predecessor of a catalog (/v2/_catalog).
import { EngineError } from "../common/index.ts";
import { boundedBytes } from "./client-errors.ts";
import type { Credentials, RegistrySettings } from "./client-settings.ts";
import { RegistryTransport } from "./client-transport.ts";

const maxAnswerBytes = 16 * 1024 * 1024;
const maxCatalogPages = 100;
const catalogPageEntries = 1000;
const hubSearchDomain = "index.docker.io";

/** One entry of `GET /images/search`. */
export interface SearchResult {
  readonly name: string;
  readonly description: string;
  readonly star_count: number;
  readonly is_official: boolean;
  /** Always false since Docker's hub gave the kind up. */
  readonly is_automated: boolean;
}

/**
 * Looks for repositories by a part of their name: `busybox` at Docker's hub, `registry:5000/app` there. A registry that has no search
 * of Docker's index is asked for its catalog, which is looked through here; one that has neither is refused by name (`unsupported`).
 */
export async function searchRegistry(options: {
  term: string;
  limit: number;
  settings: RegistrySettings;
  credentials?: Credentials | undefined;
  signal?: AbortSignal | undefined;
}): Promise<SearchResult[]> {
  const { limit, signal } = options;
  const { domain, term } = splitTerm(options.term);
  const transport = new RegistryTransport({ ...options, domain });
  const query = new URLSearchParams({ q: term, n: String(limit) });
  const response = await transport.send({
    method: "GET",
    target: `/v1/search?${query}`,
    scopes: [],
    accept: [400, 401, 403, 404, 405],
    signal,
  });
  if (response.ok) {
    const results = readResults(await boundedBytes(response, { maxBytes: maxAnswerBytes, tail: "refuse" }), domain);
    return results.slice(0, limit);
  }
  await response.body?.cancel();
  const names = await catalogNames(transport, { domain, signal, matches: (name) => name.includes(term) });
  return names.slice(0, limit).map((name) => ({
    name: `${domain}/${name}`,
    description: "",
    star_count: 0,
    is_official: false,
    is_automated: false,
  }));
}

/** A term's first part is a registry when it looks like a host, as in image names. */
function splitTerm(text: string): { domain: string; term: string } {
  const bare = text.replace(/^(index\.)?docker\.io\//, "");
  const slash = bare.indexOf("/");
  const first = slash === -1 ? "" : bare.slice(0, slash);
  if (/[.:]/.test(first) || first === "localhost") {
    if (!/^[a-zA-Z0-9.-]+(:\d+)?$|^\[[0-9a-fA-F:]+\](:\d+)?$/.test(first)) {
      throw new EngineError("invalidArgument", `"${first}" is no registry's host[:port]`);
    }
    return { domain: first, term: bare.slice(slash + 1) };
  }
  return { domain: hubSearchDomain, term: bare.replace(/^library\//, "") };
}

async function catalogNames(
  transport: RegistryTransport,
  options: { domain: string; signal: AbortSignal | undefined; matches: (name: string) => boolean },
): Promise<string[]> {
  const { domain, signal, matches } = options;
  const names: string[] = [];
  let target = `/v2/_catalog?n=${catalogPageEntries}`;
  for (let page = 0; page < maxCatalogPages; page++) {
    const response = await transport.send({
      method: "GET",
      target,
      scopes: ["registry:catalog:*"],
      accept: [401, 403, 404, 405],
      signal,
    });
    if (!response.ok) {
      await response.body?.cancel();
      throw new EngineError(
        "unsupported",
        `The registry "${domain}" cannot be searched: it has no /v1/search, and answers ${response.status} to /v2/_catalog`,
      );
    }
    const body = readJson(await boundedBytes(response, { maxBytes: maxAnswerBytes, tail: "refuse" }), domain);
    const listed = (body as { repositories?: unknown } | null)?.repositories ?? [];
    if (!Array.isArray(listed)) throw notASearch(domain);
    names.push(...listed.filter((name): name is string => typeof name === "string").filter(matches));
    const next = /<([^>]+)>\s*;\s*rel="?next"?/.exec(response.headers.get("link") ?? "")?.[1];
    if (next === undefined) return names;
    target = new URL(next, response.url || (await transport.base())).toString();
  }
  throw new EngineError(
    "resourceExhausted",
    `The registry "${domain}" lists its names on over ${maxCatalogPages} pages`,
  );
}

function readResults(bytes: Uint8Array, domain: string): SearchResult[] {
  const results = (readJson(bytes, domain) as { results?: unknown } | null)?.results;
  if (!Array.isArray(results)) throw notASearch(domain);
  const prefix = domain === hubSearchDomain ? "" : `${domain}/`;
  return results.map((entry: unknown) => {
    const { name, description, star_count: stars, is_official: isOfficial } = (entry ?? {}) as Record<string, unknown>;
    if (typeof name !== "string") throw notASearch(domain);
    return {
      name: name.startsWith(prefix) ? name : `${prefix}${name}`,
      description: typeof description === "string" ? description : "",
      star_count: typeof stars === "number" ? stars : 0,
      is_official: isOfficial === true,
      is_automated: false,
    };
  });
}

function readJson(bytes: Uint8Array, domain: string): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch {
    throw notASearch(domain);
  }
}

function notASearch(domain: string): EngineError {
  return new EngineError("unavailable", `The registry "${domain}" does not answer a search as Docker's index does`);
}
