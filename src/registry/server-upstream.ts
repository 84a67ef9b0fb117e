import { EngineError } from "../common/index.ts";
import { boundedBytes } from "./client-errors.ts";
import { acceptedManifests } from "./client-manifest.ts";
import { defaultRegistrySettings, type Credentials, type RegistrySettings } from "./client-settings.ts";
import { RegistryTransport } from "./client-transport.ts";
import { RegistryFailure } from "./server-failure.ts";
import { isRegistryDigest } from "./server-grammar.ts";

/** The registry that a cache stands before. */
export interface UpstreamOptions {
  /** `https://registry.example.org`, or `http://…` for one that speaks no TLS; without a path. */
  readonly url: string;
  readonly credentials?: Credentials;
  /** What nobody asked for during so long is taken away. */
  readonly ttlMs: number;
  /** Default `/etc/docker/certs.d`: own authorities and client certificates, by host. */
  readonly certificatesDirectory?: string;
}

export interface UpstreamManifest {
  readonly bytes: Uint8Array;
  readonly mediaType: string;
}

/** The client waits, and tries again itself. */
const maxAttempts = 2;
const maxListBytes = 16 * 1024 * 1024;

/**
 * Requests to the upstream of a cache. Throws `RegistryFailure` with what the upstream says (404 and the like), and `UpstreamDown`
 * where it says nothing that counts: no connection, 429, 5xx, or a refusal of the cache's own login.
 */
export class Upstream {
  readonly name: string;
  readonly #transports = new Map<string, RegistryTransport>();
  readonly #settings: RegistrySettings;

  constructor(private readonly options: UpstreamOptions) {
    const { protocol, host } = new URL(options.url);
    this.name = host;
    this.#settings = {
      ...defaultRegistrySettings,
      ...(protocol === "http:" ? { insecureRegistries: [host] } : {}),
      ...(options.certificatesDirectory ? { certificatesDirectory: options.certificatesDirectory } : {}),
    };
  }

  /** What a tag is there, at the moment; undefined where the upstream does not say its digest. */
  async tagDigest(repository: string, tag: string, attempts?: number): Promise<string | undefined> {
    const response = await this.#send(repository, {
      method: "HEAD",
      path: `manifests/${tag}`,
      headers: { Accept: acceptedManifests.join(", ") },
      attempts,
    });
    const digest = response.headers.get("Docker-Content-Digest") ?? "";
    return isRegistryDigest(digest) ? digest : undefined;
  }

  /** By tag or digest; not verified. */
  async manifest(repository: string, reference: string, limitBytes: number): Promise<UpstreamManifest> {
    const headers = { Accept: acceptedManifests.join(", ") };
    const response = await this.#send(repository, { method: "GET", path: `manifests/${reference}`, headers });
    const bytes = await this.#told(() => boundedBytes(response, { maxBytes: limitBytes, tail: "refuse" }));
    return { bytes, mediaType: response.headers.get("Content-Type") ?? "" };
  }

  /** A blob from a byte on, with what its headers say. The caller reads or cancels the body. */
  blob(repository: string, digest: string, offsetBytes: number): Promise<Response> {
    const headers: Record<string, string> = offsetBytes > 0 ? { Range: `bytes=${offsetBytes}-` } : {};
    return this.#send(repository, { method: "GET", path: `blobs/${digest}`, headers });
  }

  async blobSize(repository: string, digest: string): Promise<number> {
    const response = await this.#send(repository, { method: "HEAD", path: `blobs/${digest}` });
    return sizeOf(response, digest);
  }

  /** A list of tags or referrers, as the upstream has it, with links that lead to this registry. */
  async list(repository: string, path: string, query: URLSearchParams): Promise<Response> {
    const search = query.size > 0 ? `?${query.toString()}` : "";
    const response = await this.#send(repository, { method: "GET", path: `${path}${search}` });
    const bytes = await this.#told(() => boundedBytes(response, { maxBytes: maxListBytes, tail: "refuse" }));
    const headers: Record<string, string> = {
      "Content-Type": response.headers.get("Content-Type") ?? "application/json",
    };
    const next = /<([^>]+)>\s*;\s*rel="?next"?/.exec(response.headers.get("Link") ?? "")?.[1];
    if (next !== undefined) {
      const { pathname, search: rest } = new URL(next, this.options.url);
      headers.Link = `<${pathname}${rest}>; rel="next"`;
    }
    const applied = response.headers.get("OCI-Filters-Applied");
    if (applied !== null) headers["OCI-Filters-Applied"] = applied;
    return new Response(bytes as Uint8Array<ArrayBuffer>, { headers });
  }

  #send(
    repository: string,
    request: { method: "GET" | "HEAD"; path: string; headers?: Record<string, string>; attempts?: number | undefined },
  ): Promise<Response> {
    const { method, path, headers = {}, attempts = maxAttempts } = request;
    return this.#told(() =>
      this.#transport(repository).send({
        method,
        target: `/v2/${repository}/${path}`,
        scopes: [`repository:${repository}:pull`],
        headers,
        attempts,
      }),
    );
  }

  /** One for each repository, since each keeps the tokens that it was given. The oldest goes when there are many. */
  #transport(repository: string): RegistryTransport {
    const known = this.#transports.get(repository);
    if (known) return known;
    const { credentials } = this.options;
    const transport = new RegistryTransport({ domain: this.name, settings: this.#settings, credentials });
    this.#transports.set(repository, transport);
    const [oldest] = this.#transports.keys();
    if (this.#transports.size > 1000 && oldest !== undefined) this.#transports.delete(oldest);
    return transport;
  }

  async #told<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof RegistryFailure) throw error;
      const { status, errorCode } = (error instanceof EngineError ? (error.data ?? {}) : {}) as {
        status?: number;
        errorCode?: string;
      };
      if (status !== 404) throw new UpstreamDown(this.name, error);
      // HEAD has no body, and then no code.
      const codes = ["BLOB_UNKNOWN", "MANIFEST_UNKNOWN", "NAME_UNKNOWN"] as const;
      const code = codes.find((known) => known === errorCode) ?? "MANIFEST_UNKNOWN";
      throw new RegistryFailure(code, `"${this.name}" has it not: ${(error as Error).message}`);
    }
  }
}

/** The upstream gave no answer that counts. What is cached is served instead. */
export class UpstreamDown extends RegistryFailure {
  constructor(name: string, cause: unknown) {
    super(
      "UNKNOWN",
      `This registry is a cache of "${name}", which gives no answer that can be used: ${(cause as Error).message}`,
      {
        status: 502,
      },
    );
    this.cause = cause;
  }
}

/** Bytes of a blob by the headers of its answer. */
export function sizeOf(response: Response, digest: string): number {
  const size = response.headers.get("Content-Length");
  if (size !== null && /^\d{1,15}$/.test(size)) return Number(size);
  throw new RegistryFailure("UNKNOWN", `The upstream does not say how many bytes "${digest}" has`, { status: 502 });
}
