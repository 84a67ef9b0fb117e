import { registryActions, type AccessPolicy, type RegistryAction } from "./server-access.ts";
import { RegistryFailure } from "./server-failure.ts";
import { isRepositoryName } from "./server-grammar.ts";
import { tokenLifeSeconds, type TokenClaims, type TokenGrant, type Tokens } from "./server-tokens.ts";

/** Who asks, and what the asker's token is limited to; a password is limited to nothing. */
interface Caller {
  readonly user: string | undefined;
  readonly grants: readonly TokenGrant[] | undefined;
}

/** What a request needs of one repository. */
export interface Need {
  readonly repository: string;
  readonly action: RegistryAction;
}

const service = "vitrine registry";
const maxScopes = 100;
const maxFormBytes = 16 * 1024;

/**
 * The door of a registry with users: passwords by Basic (RFC 7617), and tokens by Bearer (RFC 6750) from its own token endpoint,
 * which is what docker, podman and skopeo ask for. A token never allows more than the policy does at the time of the request.
 */
export class Gate {
  constructor(private readonly services: { policy: AccessPolicy; tokens: Tokens; scheme: "http" | "https" }) {}

  /** The user, if it is one. Throws UNAUTHORIZED, with the challenge, or DENIED. */
  async require(request: Request, needs: readonly Need[]): Promise<string | undefined> {
    const caller = await this.#identify(request, needs);
    for (const need of needs) {
      if (this.#mayDo(caller, need)) continue;
      const { repository, action } = need;
      const permitted = this.services.policy.isAllowed(caller.user, repository, action);
      // A token that was asked for too little can be asked for again; what the policy forbids, no token will allow.
      if (caller.user === undefined || permitted) throw this.#challenge(request, needs, "insufficient_scope");
      throw new RegistryFailure("DENIED", `"${caller.user}" may not ${action} in "${repository}"`);
    }
    return caller.user;
  }

  /**
   * For what names no repository: GET /v2/ and the catalog. A user may ask, and the bearer of a token for nobody in particular; others
   * are challenged even where anyone may pull: skopeo and podman learn only here that logins exist.
   */
  async requireUser(request: Request): Promise<(repository: string) => boolean> {
    const caller = await this.#identify(request, []);
    const isKnown = caller.user !== undefined || caller.grants !== undefined;
    if (!isKnown) throw this.#challenge(request, [], undefined);
    return (repository) => this.services.policy.isAllowed(caller.user, repository, "pull");
  }

  /** For what is of the registry itself: a token for nobody in particular, which anyone can have, is not enough. */
  async requireLogin(request: Request): Promise<void> {
    const { user } = await this.#identify(request, []);
    if (user === undefined) throw this.#challenge(request, [], undefined);
  }

  /** Whether the caller may do it; never throws. */
  async may(request: Request, need: Need): Promise<boolean> {
    try {
      return this.#mayDo(await this.#identify(request, [need]), need);
    } catch {
      return false;
    }
  }

  /**
   * As `may`, of the last of the needs; where the asker may and only the token's scope is too small, throws the challenge for all of
   * them: a client that asked for a token without knowing of the second repository then asks for another.
   */
  async mayWithToken(request: Request, needs: readonly [...Need[], Need]): Promise<boolean> {
    const need = needs[needs.length - 1] as Need;
    const caller = await this.#identify(request, needs);
    if (this.#mayDo(caller, need)) return true;
    if (!this.services.policy.isAllowed(caller.user, need.repository, need.action)) return false;
    throw this.#challenge(request, needs, "insufficient_scope");
  }

  /** The token endpoint: GET with Basic, or POST with OAuth 2's password grant, as Docker's token specification has both. */
  async giveToken(request: Request): Promise<Response> {
    const asked = await readTokenRequest(request);
    const { user, password } = asked;
    if (user !== undefined && !(await this.services.policy.verify(user, password ?? ""))) throw wrongPassword(user);
    const grants = asked.scopes.slice(0, maxScopes).flatMap((scope) => this.#grant(user, scope));
    const token = this.services.tokens.issue({ user, grants });
    const body = {
      token,
      access_token: token,
      expires_in: tokenLifeSeconds,
      issued_at: new Date().toISOString(),
      scope: asked.scopes.join(" "),
    };
    return Response.json(body, { headers: { "Cache-Control": "no-store" } });
  }

  #grant(user: string | undefined, scope: string): TokenGrant[] {
    const [type, name = "", list = ""] = scope.split(":");
    if (type !== "repository" || !isRepositoryName(name)) return [];
    const asked = list.split(",");
    const actions = registryActions.filter(
      (action) => (asked.includes("*") || asked.includes(action)) && this.services.policy.isAllowed(user, name, action),
    );
    return actions.length > 0 ? [{ type: "repository", name, actions }] : [];
  }

  #mayDo({ user, grants }: Caller, { repository, action }: Need): boolean {
    if (!this.services.policy.isAllowed(user, repository, action)) return false;
    return !grants || grants.some((grant) => grant.name === repository && grant.actions.includes(action));
  }

  async #identify(request: Request, needs: readonly Need[]): Promise<Caller> {
    const header = request.headers.get("Authorization");
    if (header === null) return { user: undefined, grants: undefined };
    if (/^basic /i.test(header)) {
      const { user, password } = readBasic(header);
      if (await this.services.policy.verify(user, password)) return { user, grants: undefined };
      throw this.#challenge(request, needs, undefined);
    }
    const claims: TokenClaims | undefined = this.services.tokens.read(header.replace(/^bearer /i, ""));
    if (!claims) throw this.#challenge(request, needs, "invalid_token");
    return claims;
  }

  #challenge(request: Request, needs: readonly Need[], error: string | undefined): RegistryFailure {
    const host = request.headers.get("Host") ?? "";
    const realm = `${this.services.scheme}://${/^[A-Za-z0-9.:[\]_-]+$/.test(host) ? host : "localhost"}/token`;
    const scopes = needs.map(
      ({ repository, action }) => `repository:${repository}:${action === "push" ? "pull,push" : action}`,
    );
    const parts = [`realm="${realm}"`, `service="${service}"`];
    if (scopes.length > 0) parts.push(`scope="${scopes.join(" ")}"`);
    if (error !== undefined && request.headers.has("Authorization")) parts.push(`error="${error}"`);
    return new RegistryFailure("UNAUTHORIZED", "This needs a login, or another one", {
      headers: { "WWW-Authenticate": `Bearer ${parts.join(",")}` },
      detail: needs.map(({ repository, action }) => ({ Type: "repository", Name: repository, Action: action })),
    });
  }
}

interface TokenRequest {
  readonly user: string | undefined;
  readonly password: string | undefined;
  readonly scopes: readonly string[];
}

async function readTokenRequest(request: Request): Promise<TokenRequest> {
  if (request.method === "GET") {
    const header = request.headers.get("Authorization");
    const scopes = new URL(request.url).searchParams.getAll("scope").flatMap((text) => text.split(" "));
    if (header === null) return { user: undefined, password: undefined, scopes };
    return { ...readBasic(header), scopes };
  }
  if (request.method !== "POST") {
    throw new RegistryFailure("UNSUPPORTED", `/token knows GET and POST, not ${request.method}`, {
      headers: { Allow: "GET, POST" },
    });
  }
  if (Number(request.headers.get("Content-Length") ?? Infinity) > maxFormBytes) {
    throw new RegistryFailure("SIZE_INVALID", `A form may have ${maxFormBytes} bytes, and says how many it has`, {
      status: 413,
    });
  }
  const form = new URLSearchParams(await request.text());
  const kind = form.get("grant_type");
  if (kind !== "password") {
    const message = `grant_type ${JSON.stringify(kind)} is not known: only password is`;
    throw new RegistryFailure("UNSUPPORTED", message, { status: 400 });
  }
  const scopes = (form.get("scope") ?? "").split(" ");
  return { user: form.get("username") ?? "", password: form.get("password") ?? "", scopes };
}

function readBasic(header: string): { user: string; password: string } {
  const text = Buffer.from(header.replace(/^basic /i, ""), "base64").toString();
  const colon = text.indexOf(":");
  return { user: colon < 0 ? text : text.slice(0, colon), password: colon < 0 ? "" : text.slice(colon + 1) };
}

function wrongPassword(user: string): RegistryFailure {
  return new RegistryFailure("UNAUTHORIZED", `User or password is wrong for "${user.slice(0, 100)}"`, {
    headers: { "WWW-Authenticate": `Basic realm="${service}"` },
  });
}
