import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { sha256 } from "./image-fixture.ts";

/** What a fixture does beside its duty. All may be changed while it runs. */
export interface Faults {
  /** Blob answers that are cut after so many bytes, one entry an answer that has more. */
  cuts: number[];
  /** Answers, one a request, that come instead of the real ones. */
  answers: { status: number; headers?: Record<string, string> }[];
  /** Blobs whose bytes are others' than the digest says. */
  spoilt: Map<string, Uint8Array>;
  /** Where blobs are redirected to. */
  redirectTo: string | undefined;
  /** Whether Range is honoured. */
  ranges: boolean;
  /** Blob answers stop after so many bytes, and stay open. */
  stallAt: number | undefined;
  /** Blob answers wait for this. */
  gate: Promise<void> | undefined;
}

type Access =
  | { kind: "open" }
  | {
      kind: "basic" | "token";
      user: string;
      password: string;
      lifetimeSeconds?: number;
      /** What a login gets in place of the password, and may show instead of it. */
      refreshToken?: string;
    };

export interface SeenRequest {
  readonly method: string;
  readonly url: string;
  readonly authorization: string | undefined;
  readonly range: string | undefined;
}

/** A small real registry on a loopback port: pull, push, mount, tags; basic and token access; and faults on request. */
export class RegistryFixture implements AsyncDisposable {
  readonly blobs = new Map<string, Uint8Array>();
  /** `app/manifests/v1` and `app/manifests/sha256:…` → bytes and type. */
  readonly manifests = new Map<string, { bytes: Uint8Array; mediaType: string }>();
  readonly seen: SeenRequest[] = [];
  readonly faults: Faults = {
    cuts: [],
    answers: [],
    spoilt: new Map(),
    redirectTo: undefined,
    ranges: true,
    stallAt: undefined,
    gate: undefined,
  };
  /** Requests whose client went before it had its answer. */
  hungUp = 0;
  readonly #server: Server;
  readonly #holders = new Map<string, Set<string>>();
  readonly #uploads = new Map<string, Buffer[]>();
  readonly #tokens = new Map<string, { scope: string; endsAt: number }>();

  private constructor(readonly access: Access) {
    this.#server = createServer((request, response) => {
      this.#serve(request, response).catch((error: unknown) => {
        response.statusCode = 500;
        response.end(String(error));
      });
    });
  }

  static async start(access: Access = { kind: "open" }): Promise<RegistryFixture> {
    const fixture = new RegistryFixture(access);
    await new Promise<void>((resolve) => fixture.#server.listen(0, "127.0.0.1", () => resolve()));
    return fixture;
  }

  /** `127.0.0.1:port`. */
  get host(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Requests whose line matches: `GET /v2/app/blobs/…`. */
  count(pattern: RegExp): number {
    return this.seen.filter(({ method, url }) => pattern.test(`${method} ${url}`)).length;
  }

  putManifest(repository: string, tag: string, { bytes, mediaType }: { bytes: Uint8Array; mediaType: string }): string {
    for (const name of [tag, sha256(bytes)])
      this.manifests.set(`${repository}/manifests/${name}`, { bytes, mediaType });
    return sha256(bytes);
  }

  putBlob(repository: string, bytes: Uint8Array): string {
    const digest = sha256(bytes);
    this.blobs.set(digest, bytes);
    this.#holdersOf(digest).add(repository);
    return digest;
  }

  /** Cuts what is under way. */
  dropConnections(): void {
    this.#server.closeAllConnections();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #holdersOf(digest: string): Set<string> {
    const holders = this.#holders.get(digest) ?? new Set();
    this.#holders.set(digest, holders);
    return holders;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = "", url: target = "", headers } = request;
    response.on("close", () => {
      if (!response.writableFinished) this.hungUp++;
    });
    this.seen.push({ method, url: target, authorization: headers.authorization, range: headers.range });
    const url = new URL(target, `http://${this.host}`);
    if (url.pathname === "/token") return this.#token(request, response, url);
    const instead = this.faults.answers.shift();
    if (instead) return void response.writeHead(instead.status, instead.headers).end();
    if (!this.#allowed(request, response, url)) return;
    if (url.pathname === "/v2/") return void response.writeHead(200).end("{}");
    const [, repository = "", kind = "", name = ""] =
      /^\/v2\/(.+)\/(manifests|blobs\/uploads|blobs|tags)\/(.*)$/.exec(url.pathname) ?? [];
    if (kind === "manifests") return this.#manifest(request, response, { repository, name });
    if (kind === "tags") return this.#tags(response, repository, url);
    if (kind === "blobs") return this.#blob(request, response, { repository, digest: name });
    if (kind === "blobs/uploads") return this.#upload(request, response, { repository, id: name, url });
    response.writeHead(404).end();
  }

  async #token(request: IncomingMessage, response: ServerResponse, url: URL): Promise<void> {
    const form = new URLSearchParams(request.method === "POST" ? (await bodyOf(request)).toString() : "");
    const { refreshToken = "" } = this.access.kind === "token" ? this.access : {};
    const isRefresh = refreshToken !== "" && form.get("refresh_token") === refreshToken;
    const isKnown = isRefresh || (this.access.kind === "token" && request.headers.authorization === basic(this.access));
    if (this.access.kind !== "token" || !isKnown) {
      return void response.writeHead(401).end(JSON.stringify({ details: "incorrect username or password" }));
    }
    const token = crypto.randomUUID();
    const lifetime = this.access.lifetimeSeconds ?? 60;
    this.#tokens.set(token, {
      scope: [...url.searchParams.getAll("scope"), form.get("scope") ?? ""].join(" "),
      endsAt: Date.now() + lifetime * 1000,
    });
    const isOffline = refreshToken !== "" && url.searchParams.get("offline_token") === "true";
    const refresh = isOffline ? { refresh_token: refreshToken } : {};
    response.end(JSON.stringify({ token, access_token: token, expires_in: 3600, ...refresh }));
  }

  #allowed(request: IncomingMessage, response: ServerResponse, url: URL): boolean {
    if (this.access.kind === "open") return true;
    const { authorization = "" } = request.headers;
    const repository = /^\/v2\/(.+?)\/(?:manifests|blobs|tags)\//.exec(url.pathname)?.[1] ?? "";
    if (this.access.kind === "basic" && authorization === basic(this.access)) return true;
    const token = this.#tokens.get(authorization.replace("Bearer ", ""));
    if (token && token.endsAt > Date.now() && token.scope.includes(repository)) return true;
    const challenge =
      this.access.kind === "basic"
        ? 'Basic realm="fixture"'
        : `Bearer realm="http://${this.host}/token",service="fixture",scope="repository:${repository}:pull"`;
    response.writeHead(401, { "WWW-Authenticate": challenge });
    response.end(JSON.stringify({ errors: [{ code: "UNAUTHORIZED", message: "authentication required" }] }));
    return false;
  }

  async #manifest(
    request: IncomingMessage,
    response: ServerResponse,
    { repository, name }: { repository: string; name: string },
  ): Promise<void> {
    if (request.method === "PUT") {
      const digest = this.putManifest(repository, name, {
        bytes: await bodyOf(request),
        mediaType: request.headers["content-type"] ?? "",
      });
      return void response.writeHead(201, { "Docker-Content-Digest": digest }).end();
    }
    const manifest = this.manifests.get(`${repository}/manifests/${name}`);
    if (!manifest) return refuse(response, "MANIFEST_UNKNOWN", "manifest unknown");
    response.writeHead(200, {
      "Content-Type": manifest.mediaType,
      "Docker-Content-Digest": name.startsWith("sha256:") ? name : sha256(manifest.bytes),
    });
    response.end(request.method === "HEAD" ? undefined : manifest.bytes);
  }

  #tags(response: ServerResponse, repository: string, url: URL): void {
    const prefix = `${repository}/manifests/`;
    const tags = [...this.manifests.keys()]
      .filter((name) => name.startsWith(prefix) && !name.includes("sha256:"))
      .map((name) => name.slice(prefix.length))
      .sort();
    const after = tags.filter((tag) => tag > (url.searchParams.get("last") ?? ""));
    const [first] = after;
    // A page has one tag, so that every list has pages.
    if (after.length > 1) response.setHeader("Link", `</v2/${repository}/tags/list?last=${first}>; rel="next"`);
    response.end(JSON.stringify({ name: repository, tags: first === undefined ? [] : [first] }));
  }

  async #blob(
    request: IncomingMessage,
    response: ServerResponse,
    { repository, digest }: { repository: string; digest: string },
  ): Promise<void> {
    const bytes = this.faults.spoilt.get(digest) ?? this.blobs.get(digest);
    if (!bytes || !this.#holdersOf(digest).has(repository))
      return refuse(response, "BLOB_UNKNOWN", "blob unknown to registry");
    if (request.method === "HEAD") return void response.writeHead(200, { "Content-Length": bytes.length }).end();
    if (this.faults.redirectTo !== undefined) {
      return void response.writeHead(307, { Location: `${this.faults.redirectTo}${request.url}` }).end();
    }
    await this.faults.gate;
    const [, first, last] = (this.faults.ranges && /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "")) || [];
    const from = Number(first ?? 0);
    const rest = bytes.subarray(from, last ? Number(last) + 1 : undefined);
    const isPart = rest.length < bytes.length;
    const range = isPart ? { "Content-Range": `bytes ${from}-${from + rest.length - 1}/${bytes.length}` } : {};
    response.writeHead(isPart ? 206 : 200, { "Content-Length": rest.length, ...range });
    const { stallAt = Infinity } = this.faults;
    if (rest.length > stallAt) return void response.write(rest.subarray(0, stallAt));
    const cut = rest.length > (this.faults.cuts[0] ?? Infinity) ? this.faults.cuts.shift() : undefined;
    if (cut === undefined) return void response.end(rest);
    response.write(rest.subarray(0, cut), () => request.socket.destroy());
  }

  async #upload(
    request: IncomingMessage,
    response: ServerResponse,
    { repository, id, url }: { repository: string; id: string; url: URL },
  ): Promise<void> {
    const mounted = url.searchParams.get("mount") ?? "";
    if (request.method === "POST" && this.#holdersOf(mounted).has(url.searchParams.get("from") ?? "")) {
      this.#holdersOf(mounted).add(repository);
      return void response.writeHead(201).end();
    }
    if (request.method === "POST") {
      const upload = crypto.randomUUID();
      this.#uploads.set(upload, []);
      return void response.writeHead(202, { Location: `/v2/${repository}/blobs/uploads/${upload}?state=x` }).end();
    }
    const parts = this.#uploads.get(id);
    if (!parts) return refuse(response, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry");
    parts.push(Buffer.from(await bodyOf(request)));
    if (request.method === "PATCH") return void response.writeHead(202, { Location: request.url ?? "" }).end();
    this.#uploads.delete(id);
    if (request.method === "DELETE") return void response.writeHead(204).end();
    const digest = this.putBlob(repository, Buffer.concat(parts));
    if (digest !== url.searchParams.get("digest"))
      return refuse(response, "DIGEST_INVALID", "provided digest did not match uploaded content");
    response.writeHead(201, { "Docker-Content-Digest": digest }).end();
  }
}

function basic({ user, password }: { user: string; password: string }): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
}

function refuse(response: ServerResponse, code: string, message: string): void {
  response.writeHead(code === "DIGEST_INVALID" ? 400 : 404, { "Content-Type": "application/json" });
  response.end(JSON.stringify({ errors: [{ code, message, detail: null }] }));
}

async function bodyOf(request: IncomingMessage): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
