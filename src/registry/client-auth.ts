// RFC 9110 section 11 (challenges), RFC 6750 (bearer), and distribution's token authentication, GET and OAuth2 forms.
import { EngineError } from "../common/index.ts";
import { boundedBytes, registryFailure } from "./client-errors.ts";
import type { Credentials } from "./client-settings.ts";

const maxTokenBytes = 1024 * 1024;
const defaultLifetimeSeconds = 60;
const clientId = "vitrine";
/** A token is not used when it would end on its way. */
const marginMs = 5000;

export interface Challenge {
  readonly scheme: string;
  readonly parameters: ReadonlyMap<string, string>;
}

/** Reads `WWW-Authenticate`: `Bearer realm="https://…",service="…",scope="…", Basic realm="…"`. Schemes in lower case. */
export function parseChallenges(header: string): Challenge[] {
  const challenges: { scheme: string; parameters: Map<string, string> }[] = [];
  const pattern =
    /\s*,?\s*(?:([a-zA-Z][\w-]*)(?=\s+[\w-]+\s*=|\s*$|\s*,)\s*)?(?:([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+)))?/y;
  while (pattern.lastIndex < header.length) {
    const start = pattern.lastIndex;
    const match = pattern.exec(header);
    if (!match || pattern.lastIndex === start) break;
    const [, scheme, name, quoted, bare] = match;
    if (scheme !== undefined) challenges.push({ scheme: scheme.toLowerCase(), parameters: new Map() });
    if (name !== undefined) {
      challenges.at(-1)?.parameters.set(name.toLowerCase(), quoted?.replace(/\\(.)/g, "$1") ?? bare ?? "");
    }
  }
  return challenges;
}

/** Sends one request without any retry; the transport's, so that certificates and limits are the same. */
export type PlainFetch = (
  url: URL,
  init: { method: string; headers: Record<string, string>; body?: string },
) => Promise<Response>;

interface Token {
  readonly value: string;
  readonly endsAt: number;
}

/**
 * What one client shows one registry. Tokens are kept by scope until shortly before they end; requests at once that need the same
 * token share one question. Credentials go to the registry and to the realm that it names, and never in the clear from a registry that is encrypted.
 */
export class RegistryAuth {
  readonly #credentials: Credentials;
  readonly #fetch: PlainFetch;
  readonly #tokens = new Map<string, Token>();
  readonly #asking = new Map<string, Promise<Token>>();
  readonly #isLogin: boolean;
  #basic = false;
  #refreshToken: string | undefined;

  /** With `isLogin` token servers are asked for a refresh token too. */
  constructor(credentials: Credentials, { fetch, isLogin = false }: { fetch: PlainFetch; isLogin?: boolean }) {
    this.#credentials = credentials;
    this.#fetch = fetch;
    this.#isLogin = isLogin;
  }

  /** What a token server gave in place of the password, if it did. */
  get refreshToken(): string | undefined {
    return this.#refreshToken;
  }

  /** What is known to be wanted: an `Authorization` value, or undefined before the first challenge. */
  known(scopes: readonly string[]): string | undefined {
    if (this.#credentials.registryToken) return `Bearer ${this.#credentials.registryToken}`;
    if (this.#basic) return this.#basicValue();
    const token = this.#tokens.get(keyOf(scopes));
    return token && token.endsAt > Date.now() ? `Bearer ${token.value}` : undefined;
  }

  /** Answers a 401. Undefined when nothing more can be shown than was. Throws `unauthenticated` with Docker's words. */
  async answer(
    header: string,
    question: { scopes: readonly string[]; shown: string | undefined; what: string; registry: URL },
  ): Promise<string | undefined> {
    const challenges = parseChallenges(header);
    const bearer = challenges.find(({ scheme }) => scheme === "bearer");
    if (bearer && !this.#credentials.registryToken) {
      const key = keyOf(question.scopes);
      if (question.shown === `Bearer ${this.#tokens.get(key)?.value}`) this.#tokens.delete(key);
      const token = await this.#token(bearer, question);
      return `Bearer ${token.value}`;
    }
    if (challenges.some(({ scheme }) => scheme === "basic")) {
      if (!this.#credentials.username) {
        throw new EngineError("unauthenticated", `${question.what}: no basic auth credentials`, {
          data: { status: 401 },
        });
      }
      const value = this.#basicValue();
      if (value === question.shown) return undefined;
      this.#basic = true;
      return value;
    }
    return undefined;
  }

  #basicValue(): string {
    const { username = "", password = "" } = this.#credentials;
    return `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
  }

  #token(challenge: Challenge, { scopes, registry }: { scopes: readonly string[]; registry: URL }): Promise<Token> {
    const key = keyOf(scopes);
    let asking = this.#asking.get(key);
    if (!asking) {
      asking = this.#ask(challenge, { scopes, registry })
        .then((token) => {
          this.#tokens.set(key, token);
          return token;
        })
        .finally(() => this.#asking.delete(key));
      this.#asking.set(key, asking);
    }
    return asking;
  }

  async #ask(challenge: Challenge, { scopes, registry }: { scopes: readonly string[]; registry: URL }): Promise<Token> {
    const realm = realmOf(challenge, registry);
    const service = challenge.parameters.get("service");
    const asked = scopes.length > 0 ? scopes : (challenge.parameters.get("scope")?.split(" ") ?? []);
    const response = await (this.#credentials.identityToken
      ? this.#askByRefreshToken(realm, { service, scopes: asked })
      : this.#askByPassword(realm, { service, scopes: asked }));
    if (!response.ok) {
      throw await registryFailure(response, `Get "${realm.origin}${realm.pathname}"`);
    }
    const { refresh, ...token } = readToken(
      await boundedBytes(response, { maxBytes: maxTokenBytes, tail: "refuse" }),
      realm,
    );
    if (refresh !== undefined) this.#refreshToken = refresh;
    return token;
  }

  #askByPassword(
    realm: URL,
    { service, scopes }: { service: string | undefined; scopes: readonly string[] },
  ): Promise<Response> {
    const url = new URL(realm);
    if (service !== undefined) url.searchParams.set("service", service);
    for (const scope of scopes) url.searchParams.append("scope", scope);
    const { username } = this.#credentials;
    if (username) url.searchParams.set("account", username);
    if (this.#isLogin) {
      url.searchParams.set("offline_token", "true");
      url.searchParams.set("client_id", clientId);
    }
    return this.#fetch(url, { method: "GET", headers: username ? { Authorization: this.#basicValue() } : {} });
  }

  #askByRefreshToken(
    realm: URL,
    { service, scopes }: { service: string | undefined; scopes: readonly string[] },
  ): Promise<Response> {
    const form = new URLSearchParams({
      grant_type: "refresh_token",
      refresh_token: this.#credentials.identityToken ?? "",
      client_id: clientId,
      ...(service === undefined ? {} : { service }),
      ...(scopes.length === 0 ? {} : { scope: scopes.join(" ") }),
    });
    return this.#fetch(realm, {
      method: "POST",
      headers: { "Content-Type": "application/x-www-form-urlencoded" },
      body: form.toString(),
    });
  }
}

function realmOf(challenge: Challenge, registry: URL): URL {
  const text = challenge.parameters.get("realm") ?? "";
  let realm: URL;
  try {
    realm = new URL(text);
  } catch (cause) {
    throw new EngineError(
      "invalidArgument",
      `The registry "${registry.host}" names "${text}" for tokens, which is no URL`,
      { cause },
    );
  }
  if (!["https:", registry.protocol].includes(realm.protocol)) {
    throw new EngineError(
      "permissionDenied",
      `The registry "${registry.host}" names "${text}" for tokens, and a password is not sent in the clear`,
    );
  }
  return realm;
}

function readToken(bytes: Uint8Array, realm: URL): Token & { refresh: string | undefined } {
  let body: { token?: unknown; access_token?: unknown; expires_in?: unknown; refresh_token?: unknown };
  try {
    body = JSON.parse(Buffer.from(bytes).toString("utf8")) as typeof body;
  } catch (cause) {
    throw new EngineError("unavailable", `The token server "${realm.host}" does not answer in JSON`, { cause });
  }
  const value = body?.token || body?.access_token;
  if (typeof value !== "string" || !/^[\x21-\x7e]+$/.test(value)) {
    throw new EngineError(
      "unavailable",
      `authorization server "${realm.host}" did not include a token in the response`,
    );
  }
  const seconds = typeof body.expires_in === "number" && body.expires_in > 0 ? body.expires_in : defaultLifetimeSeconds;
  const refresh = typeof body.refresh_token === "string" && body.refresh_token ? body.refresh_token : undefined;
  return { value, refresh, endsAt: Date.now() + seconds * 1000 - Math.min(marginMs, seconds * 500) };
}

function keyOf(scopes: readonly string[]): string {
  return [...scopes].sort().join(" ");
}
