import { answerBlob, requireDigest, serveBlob, type BlobCall, type BlobServices } from "./server-blobs.ts";
import { CacheBlobs, type CacheBlobServices } from "./server-cache-blobs.ts";
import { RegistryFailure } from "./server-failure.ts";
import { algorithmOf } from "./server-grammar.ts";
import { checkManifest } from "./server-manifest-check.ts";
import { isReferenceDigest } from "./server-manifests.ts";
import { UpstreamDown } from "./server-upstream.ts";

/** One try: whoever waits has a cached manifest to go on with. */
const attemptsWithCopy = 1;

/**
 * A pull-through cache of another registry. Tags are asked for there each time, by HEAD; manifests by digest and blobs come from there once.
 * Where the upstream does not answer, what is here is served. Nothing can be pushed.
 */
export class RegistryCache implements AsyncDisposable {
  /** For the metrics: answers by where they came from. `stale` is a copy that could not be compared with the upstream. */
  readonly counts = { hit: 0, miss: 0, stale: 0 };
  readonly #blobs: CacheBlobs;
  /** One question a tag or digest at a time; whoever asks meanwhile gets the same answer. */
  readonly #asking = new Map<string, Promise<void>>();

  constructor(private readonly services: CacheBlobServices & BlobServices) {
    this.#blobs = new CacheBlobs(services);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#blobs[Symbol.asyncDispose]();
  }

  /** Throws UNSUPPORTED for all that would change something. */
  requireReading(method: string): void {
    if (["GET", "HEAD"].includes(method)) return;
    const message = `This registry is a cache of "${this.services.upstream.name}": push and delete there`;
    throw new RegistryFailure("UNSUPPORTED", message, { headers: { Allow: "GET, HEAD" } });
  }

  /** Makes the manifest here what it is at the upstream; leaves it as it is where the upstream does not answer. */
  refresh(repository: string, reference: string): Promise<void> {
    const key = `${repository} ${reference}`;
    const asking = this.#asking.get(key);
    if (asking) return asking;
    const work = this.#refresh(repository, reference).finally(() => this.#asking.delete(key));
    this.#asking.set(key, work);
    return work;
  }

  /** GET and HEAD of a blob, from here or, while it is being stored, from the upstream. */
  async serveBlob(call: BlobCall): Promise<Response> {
    const { request, repository, digest } = call;
    const { records, upstream } = this.services;
    requireDigest(digest);
    if (records.linkedSize(repository, digest) !== undefined) {
      this.counts.hit++;
      return serveBlob(this.services, call);
    }
    this.counts.miss++;
    try {
      if (request.method === "HEAD") {
        const size = await upstream.blobSize(repository, digest);
        return await answerBlob(request, digest, { size, open: async () => null });
      }
      const source = await this.#blobs.open(repository, digest);
      return source ? await answerBlob(request, digest, source) : await serveBlob(this.services, call);
    } catch (error) {
      if (!(error instanceof RegistryFailure) || error.code !== "MANIFEST_UNKNOWN") throw error;
      throw new RegistryFailure("BLOB_UNKNOWN", error.message, { detail: { digest } });
    }
  }

  /** Tags or referrers as the upstream lists them; `local` where it does not answer. */
  async list(
    { repository, path, query }: { repository: string; path: string; query: URLSearchParams },
    local: () => Response,
  ): Promise<Response> {
    try {
      return await this.services.upstream.list(repository, path, query);
    } catch (error) {
      if (!(error instanceof UpstreamDown)) throw error;
      this.#warn(repository, error);
      return local();
    }
  }

  async #refresh(repository: string, reference: string): Promise<void> {
    const { records } = this.services;
    const isDigest = isReferenceDigest(reference);
    const copy = isDigest ? reference : records.taggedDigest(repository, reference);
    const hasCopy = copy !== undefined && records.manifest(repository, copy) !== undefined;
    try {
      const isCurrent = hasCopy && (isDigest || (await this.#isCurrent(repository, { tag: reference, digest: copy })));
      this.counts[isCurrent ? "hit" : "miss"]++;
      if (!isCurrent) await this.#fetch(repository, reference, isDigest);
    } catch (error) {
      if (error instanceof UpstreamDown && hasCopy) {
        this.counts.stale++;
        return this.#warn(repository, error);
      }
      // A tag that the upstream has no more is served to nobody, also when the upstream does not answer later.
      if (error instanceof RegistryFailure && error.status === 404 && !isDigest)
        records.deleteTag(repository, reference);
      throw error;
    }
  }

  async #isCurrent(repository: string, { tag, digest }: { tag: string; digest: string }): Promise<boolean> {
    return (await this.services.upstream.tagDigest(repository, tag, attemptsWithCopy)) === digest;
  }

  async #fetch(repository: string, reference: string, isDigest: boolean): Promise<void> {
    const { records, upstream, limits } = this.services;
    const { bytes, mediaType } = await upstream.manifest(repository, reference, limits.manifestBytes);
    const algorithm = isDigest ? algorithmOf(reference) : "sha256";
    const digest = `${algorithm}:${new Bun.CryptoHasher(algorithm).update(bytes).digest("hex")}`;
    if (isDigest && digest !== reference) {
      const message = `"${upstream.name}" gives "${digest}" for the manifest "${reference}"`;
      throw new RegistryFailure("UNKNOWN", message, { status: 502 });
    }
    const manifest = checkManifest(bytes, mediaType);
    const tags = isDigest ? [] : [reference];
    records.putManifest({ ...manifest, repository, digest, bytes }, { tags, partial: true });
  }

  #warn(repository: string, error: UpstreamDown): void {
    this.services.log("error", `"${repository}" is served from the cache: ${error.message}`);
  }
}
