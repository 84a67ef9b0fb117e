import { RegistryFailure } from "./server-failure.ts";
import { isRegistryDigest } from "./server-grammar.ts";
import type { RegistryLimits } from "./server-options.ts";
import type { RegistryRecords } from "./server-records.ts";
import type { ByteRange, RegistryStorage } from "./storage-contract.ts";

/** Streams are sent chunked, without a length; what is no longer than this is read first, and then has one. */
const maxHeldBytes = 1024 * 1024;

export interface BlobServices {
  readonly records: RegistryRecords;
  readonly storage: RegistryStorage;
  readonly limits: RegistryLimits;
  readonly log: (level: "info" | "error", message: string) => void;
}

/** GET and HEAD of a blob: whole, a range, or unchanged. Being asked for keeps it from being collected for a while. */
export async function serveBlob(
  { records, storage, limits, log }: BlobServices,
  { request, repository, digest }: BlobCall,
): Promise<Response> {
  requireDigest(digest);
  const size = records.linkedSize(repository, digest);
  if (size === undefined) throw unknownBlob(repository, digest);
  records.useLink(repository, digest, Date.now() - limits.graceMs / 4);
  const address = request.method === "GET" && size > 0 ? storage.address?.(digest) : undefined;
  if (address !== undefined) {
    // The address ends some time: nobody may keep it.
    const headers = { Location: address, "Docker-Content-Digest": digest, "Cache-Control": "no-store" };
    return new Response(null, { status: 307, headers });
  }
  const source: BlobSource = {
    size,
    open: async (range) => {
      if (size > 0 && (await storage.size(digest)) !== size) {
        const message = `The bytes of the blob "${digest}" are not whole in the ${storage.description}`;
        throw new RegistryFailure("UNKNOWN", message);
      }
      // An empty range of an object store's blob is nothing that can be asked for.
      const body = size === 0 ? null : storage.open(digest, range);
      const tell = (error: Error): void =>
        log("error", `"${digest}" broke off in the ${storage.description}: ${error.message}`);
      return body instanceof ReadableStream ? untilBroken(body, tell) : body;
    },
  };
  return answerBlob(request, digest, source);
}

/** The same bytes. A failure in the middle is told here and only cuts the answer: Bun prints those of an object store by itself. */
function untilBroken(source: ReadableStream<Uint8Array>, tell: (error: Error) => void): ReadableStream<Uint8Array> {
  const reader = source.getReader();
  return new ReadableStream({
    async pull(controller) {
      try {
        const next = await reader.read();
        if (next.done) controller.close();
        else controller.enqueue(next.value);
      } catch (error) {
        tell(error as Error);
        controller.error(error);
      }
    },
    cancel: (reason) => reader.cancel(reason),
  });
}

export interface BlobCall {
  readonly request: Request;
  readonly repository: string;
  readonly digest: string;
}

/** Where a blob's bytes come from: the storage, or a cache's download that is under way. */
export interface BlobSource {
  readonly size: number;
  open(range: ByteRange): Promise<Blob | ReadableStream<Uint8Array> | null>;
}

/** The answer to GET and HEAD of a blob, by its headers: 200, 206, 304. Throws 416. */
export async function answerBlob(request: Request, digest: string, source: BlobSource): Promise<Response> {
  const { size } = source;
  const headers = {
    "Accept-Ranges": "bytes",
    "Cache-Control": "public, max-age=31536000, immutable",
    "Content-Type": "application/octet-stream",
    "Docker-Content-Digest": digest,
    ETag: `"${digest}"`,
    "X-Content-Type-Options": "nosniff",
  };
  if (matchesTag(request.headers.get("If-None-Match"), digest)) return new Response(null, { status: 304, headers });
  if (request.method === "HEAD") {
    return new Response(null, { headers: { ...headers, "Content-Length": String(size) } });
  }
  const range = wantedRange(request.headers, { size, digest });
  const { start, end } = range ?? { start: 0, end: size };
  const contentRange = range ? { "Content-Range": `bytes ${start}-${end - 1}/${size}` } : {};
  const head = {
    status: range ? 206 : 200,
    headers: { ...headers, "Content-Length": String(end - start), ...contentRange },
  };
  const body = await source.open({ start, end });
  const isShort = body instanceof ReadableStream && end - start <= maxHeldBytes;
  return new Response(isShort ? await new Response(body).bytes() : body, head);
}

/** RFC 9110, 13.1.2 and 8.8.3: `*`, or a list of entity tags, weak ones too. */
export function matchesTag(header: string | null, digest: string): boolean {
  if (header === null) return false;
  return header.split(",").some((tag) => ["*", `"${digest}"`, `W/"${digest}"`].includes(tag.trim()));
}

/**
 * RFC 9110, 14.2: one range of bytes. Several ranges, other units and what is malformed are ignored, which the RFC allows.
 * Throws 416 for a range that begins behind the end, or ends before it begins.
 */
function wantedRange(headers: Headers, blob: { size: number; digest: string }): ByteRange | undefined {
  const match = /^bytes=(\d*)-(\d*)$/.exec(headers.get("Range")?.trim() ?? "");
  if (!match || (match[1] === "" && match[2] === "")) return undefined;
  const condition = headers.get("If-Range");
  if (condition !== null && condition.trim() !== `"${blob.digest}"`) return undefined;
  const [, first = "", last = ""] = match;
  const start = first === "" ? Math.max(0, blob.size - Number(last)) : Number(first);
  const end = first === "" || last === "" ? blob.size : Math.min(blob.size, Number(last) + 1);
  const isBackwards = first !== "" && last !== "" && Number(last) < Number(first);
  if (isBackwards || start >= blob.size) {
    const what = isBackwards ? `no range ${first}-${last}` : `none at ${start}`;
    throw new RegistryFailure("SIZE_INVALID", `The blob "${blob.digest}" has ${blob.size} bytes, ${what}`, {
      status: 416,
      headers: { "Content-Range": `bytes */${blob.size}` },
    });
  }
  return { start, end };
}

export function requireDigest(digest: string): void {
  if (isRegistryDigest(digest)) return;
  const message = `"${digest.slice(0, 200)}" is no sha256 or sha512 digest`;
  throw new RegistryFailure("DIGEST_INVALID", message);
}

export function unknownBlob(repository: string, digest: string): RegistryFailure {
  return new RegistryFailure("BLOB_UNKNOWN", `No blob "${digest}" is in "${repository}"`, { detail: { digest } });
}
