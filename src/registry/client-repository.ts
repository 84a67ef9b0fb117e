// OCI distribution specification 1.1, the client's side.
import { EngineError } from "../common/index.ts";
import { isDigest, type Descriptor } from "../spec/index.ts";
import { readLargeBlob, SpareConnections } from "./client-blob.ts";
import { boundedBytes } from "./client-errors.ts";
import { isForeignLayer, openForeignLayer } from "./client-foreign.ts";
import { acceptedManifests, maxManifestBytes, parseManifest, type ParsedManifest } from "./client-manifest.ts";
import type { Credentials, RegistrySettings } from "./client-settings.ts";
import { backOffMs, dockerHubDomain, pause, RegistryTransport, type RegistryRequest } from "./client-transport.ts";

const maxUploadAttempts = 5;
const maxTagPages = 1000;
const maxTagPageBytes = 16 * 1024 * 1024;

export interface RepositoryOptions {
  /** `host:port`, or `docker.io`. */
  readonly domain: string;
  /** `library/busybox`. */
  readonly path: string;
  readonly settings: RegistrySettings;
  readonly credentials?: Credentials | undefined;
  readonly signal?: AbortSignal | undefined;
  /** What is wanted of it: a token for less is asked for first. */
  readonly actions: "pull" | "pull,push";
}

/**
 * One repository of one registry, for one pull or push. All digests and sizes are verified.
 *
 *     const busybox = new RepositoryClient({ domain: "docker.io", path: "library/busybox", settings, actions: "pull" });
 *     const { manifest } = await busybox.manifest("latest");
 *     for await (const chunk of busybox.blob(manifest.layers[0])) …
 */
export class RepositoryClient {
  readonly #transport: RegistryTransport;
  readonly #mirrors: readonly RegistryTransport[];
  readonly #options: RepositoryOptions;
  readonly #scopes: readonly string[];
  readonly #connections = new SpareConnections();

  constructor(options: RepositoryOptions) {
    this.#options = options;
    this.#transport = new RegistryTransport(options);
    const { domain, settings, actions } = options;
    const mirrors = domain === dockerHubDomain && actions === "pull" ? (settings.registryMirrors ?? []) : [];
    this.#mirrors = mirrors.map((mirror) => {
      const base = new URL(mirror);
      return new RegistryTransport({ domain: base.host, settings, base });
    });
    this.#scopes = [`repository:${options.path}:${options.actions}`];
  }

  /** By tag or digest. A manifest by digest is what the digest says, or refused. */
  async manifest(reference: string): Promise<ParsedManifest> {
    const { bytes, mediaType } = await this.manifestBytes(reference);
    return parseManifest(bytes, mediaType);
  }

  /** As `manifest`, of whatever kind it is. */
  async manifestBytes(reference: string): Promise<{ bytes: Uint8Array; mediaType: string }> {
    const response = await this.#read({
      method: "GET",
      target: this.#path(`manifests/${reference}`),
      scopes: this.#scopes,
      headers: { Accept: acceptedManifests.join(", ") },
      signal: this.#options.signal,
    });
    const bytes = await boundedBytes(response, { maxBytes: maxManifestBytes, tail: "refuse" });
    const digest = `sha256:${new Bun.CryptoHasher("sha256").update(bytes).digest("hex")}`;
    const said = isDigest(reference) ? reference : (response.headers.get("docker-content-digest") ?? digest);
    if (said !== digest) {
      throw new EngineError(
        "invalidArgument",
        `manifest verification failed for digest ${said}: the bytes are "${digest}"`,
      );
    }
    return { bytes, mediaType: response.headers.get("content-type") ?? "" };
  }

  /**
   * A blob's bytes from a place on, taken up again where a connection was cut; a large one over several connections where the registry
   * knows ranges. The reader verifies them: `ContentStore` does.
   */
  blob(
    descriptor: Descriptor,
    { signal = this.#options.signal, fromBytes = 0 }: { signal?: AbortSignal | undefined; fromBytes?: number } = {},
  ): AsyncGenerator<Uint8Array> {
    return readLargeBlob(descriptor, {
      signal,
      fromBytes,
      connections: this.#connections,
      open: (range, ended) => {
        const headers: Record<string, string> = range === undefined ? {} : { Range: `bytes=${range}` };
        const { settings } = this.#options;
        if (isForeignLayer(descriptor)) return openForeignLayer(descriptor, { settings, headers, signal: ended });
        const target = this.#path(`blobs/${descriptor.digest}`);
        return this.#read({ method: "GET", target, scopes: this.#scopes, headers, signal: ended });
      },
    });
  }

  /** A mirror that does not have it, or does not answer, is passed over. */
  async #read(request: RegistryRequest): Promise<Response> {
    for (const mirror of this.#mirrors) {
      try {
        return await mirror.send({ ...request, attempts: 1 });
      } catch {
        request.signal?.throwIfAborted();
      }
    }
    return this.#transport.send(request);
  }

  /** All tags, over as many pages as there are. */
  async tags(): Promise<string[]> {
    const tags: string[] = [];
    let target = this.#path("tags/list");
    for (let page = 0; page < maxTagPages; page++) {
      const response = await this.#transport.send({
        method: "GET",
        target,
        scopes: this.#scopes,
        signal: this.#options.signal,
      });
      const bytes = await boundedBytes(response, { maxBytes: maxTagPageBytes, tail: "refuse" });
      tags.push(...readTags(bytes));
      const next = /<([^>]+)>\s*;\s*rel="?next"?/.exec(response.headers.get("link") ?? "")?.[1];
      if (next === undefined) return tags;
      target = new URL(next, response.url || (await this.#transport.base())).toString();
    }
    throw new EngineError("resourceExhausted", `The registry lists tags on more than ${maxTagPages} pages`);
  }

  async hasBlob(digest: string): Promise<boolean> {
    const response = await this.#transport.send({
      method: "HEAD",
      target: this.#path(`blobs/${digest}`),
      scopes: this.#scopes,
      accept: [404],
      signal: this.#options.signal,
    });
    await response.body?.cancel();
    return response.ok;
  }

  /** Asks the registry to take the blob from another repository of its own; whether it did. */
  async mountBlob(digest: string, from: string): Promise<boolean> {
    const response = await this.#transport.send({
      method: "POST",
      target: `${this.#path("blobs/uploads/")}?${new URLSearchParams({ mount: digest, from })}`,
      scopes: [...this.#scopes, `repository:${from}:pull`],
      accept: [400, 401, 403, 404, 405],
      signal: this.#options.signal,
    });
    await response.body?.cancel();
    if (response.status === 201) return true;
    const location = response.headers.get("location");
    // It opened an upload instead, which nobody would use.
    if (response.status === 202 && location !== null) await this.#cancelUpload(await this.#absolute(location));
    return false;
  }

  /** Uploads a blob in one stream. `open` is called anew when the upload has to begin again. */
  async uploadBlob(descriptor: Descriptor, open: () => AsyncIterable<Uint8Array>): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#uploadOnce(descriptor, open);
      } catch (error) {
        this.#options.signal?.throwIfAborted();
        const mayPass = error instanceof EngineError && ["unavailable", "resourceExhausted"].includes(error.code);
        if (!mayPass || attempt >= maxUploadAttempts) throw error;
      }
      await pause(backOffMs(attempt), this.#options.signal);
    }
  }

  async #uploadOnce(descriptor: Descriptor, open: () => AsyncIterable<Uint8Array>): Promise<void> {
    const started = await this.#transport.send({
      method: "POST",
      target: this.#path("blobs/uploads/"),
      scopes: this.#scopes,
      headers: { "Content-Length": "0" },
      signal: this.#options.signal,
    });
    await started.body?.cancel();
    const upload = await this.#absolute(requireLocation(started));
    const sent = await this.#transport.send({
      method: "PATCH",
      target: upload,
      scopes: this.#scopes,
      headers: { "Content-Type": "application/octet-stream" },
      body: open,
      attempts: 1,
      signal: this.#options.signal,
    });
    await sent.body?.cancel();
    const end = new URL(await this.#absolute(sent.headers.get("location") ?? upload));
    end.searchParams.set("digest", descriptor.digest);
    const ended = await this.#transport.send({
      method: "PUT",
      target: end.toString(),
      scopes: this.#scopes,
      headers: { "Content-Length": "0" },
      signal: this.#options.signal,
    });
    await ended.body?.cancel();
    const said = ended.headers.get("docker-content-digest");
    if (said !== null && said !== descriptor.digest) {
      throw new EngineError("unavailable", `The registry took "${descriptor.digest}" for "${said}"`);
    }
  }

  /** Puts a manifest under a tag or its digest. `knowsSubject`: whether the registry lists it as its subject's referrer. */
  async putManifest(
    reference: string,
    { bytes, descriptor }: { bytes: Uint8Array; descriptor: Descriptor },
  ): Promise<{ knowsSubject: boolean }> {
    const response = await this.#transport.send({
      method: "PUT",
      target: this.#path(`manifests/${reference}`),
      scopes: this.#scopes,
      headers: { "Content-Type": descriptor.mediaType },
      body: () => bytes,
      signal: this.#options.signal,
    });
    await response.body?.cancel();
    const said = response.headers.get("docker-content-digest");
    if (said !== null && said !== descriptor.digest) {
      throw new EngineError("unavailable", `The registry took the manifest "${descriptor.digest}" for "${said}"`);
    }
    return { knowsSubject: response.headers.has("oci-subject") };
  }

  async #cancelUpload(target: string): Promise<void> {
    try {
      const response = await this.#transport.send({
        method: "DELETE",
        target,
        scopes: this.#scopes,
        accept: [400, 404, 405],
        attempts: 1,
      });
      await response.body?.cancel();
    } catch {
      // An upload that nobody uses ends by itself.
    }
  }

  /** Where an upload goes on. Registries behind a proxy that ends TLS name themselves by plain HTTP: nothing is sent so. */
  async #absolute(location: string): Promise<string> {
    const base = await this.#transport.base();
    const url = new URL(location, base);
    if (base.protocol === "https:" && url.protocol === "http:") url.protocol = "https:";
    return url.toString();
  }

  #path(rest: string): string {
    return `/v2/${this.#options.path}/${rest}`;
  }
}

/** Whether the registry takes these credentials. Throws its refusal. Answers a refresh token, where its token server gives one. */
export async function checkCredentials(options: {
  domain: string;
  settings: RegistrySettings;
  credentials: Credentials;
}): Promise<string | undefined> {
  const transport = new RegistryTransport({ ...options, isLogin: true });
  const response = await transport.send({ method: "GET", target: "/v2/", scopes: [] });
  await response.body?.cancel();
  return transport.refreshToken;
}

function requireLocation(response: Response): string {
  const location = response.headers.get("location");
  if (location === null) throw new EngineError("unavailable", "The registry began an upload and did not say where");
  return location;
}

function readTags(bytes: Uint8Array): string[] {
  let body: unknown;
  try {
    body = JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch (cause) {
    throw new EngineError("unavailable", "The registry's list of tags is no JSON", { cause });
  }
  const tags = (body as { tags?: unknown } | null)?.tags ?? [];
  if (!Array.isArray(tags) || !tags.every((tag) => typeof tag === "string")) {
    throw new EngineError("unavailable", "The registry's list of tags is no list of text");
  }
  return tags;
}
