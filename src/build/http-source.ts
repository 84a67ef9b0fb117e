import type { Database } from "bun:sqlite";
import { rmSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { EngineError, newId, type Paths } from "../common/index.ts";
import { httpFileName } from "./http-file-name.ts";
import { defaultHttpLimits, httpBody, parseHttpUrl, sendHttp, shownUrl, type HttpLimits } from "./http-request.ts";

/** A file of the web, as ADD or a build's context names it. */
export interface HttpFile {
  readonly url: string;
  /** `sha256:<hex>` that the bytes must have: then nothing is asked until they are needed. */
  readonly checksum?: string | undefined;
  /** Value of an `Authorization` header: `Bearer …`, or what a secret says. */
  readonly authorization?: string | undefined;
}

/** What a URL holds at this moment. Dispose it to delete what was downloaded. */
export interface HttpDownload extends AsyncDisposable {
  /** `sha256:<hex>` of the bytes. */
  readonly digest: string;
  /** Base name that the file has where its destination is a directory. */
  readonly fileName: string;
  /** `Last-Modified`, in milliseconds since 1970. */
  readonly lastModifiedMs: number | undefined;
  /** Path of the bytes on disk, mode 0600. Downloads them unless finding the digest did already. */
  file(signal?: AbortSignal): Promise<string>;
}

const schema = `CREATE TABLE IF NOT EXISTS http_downloads (
  url TEXT PRIMARY KEY, etag TEXT NOT NULL, last_modified TEXT NOT NULL, digest TEXT NOT NULL,
  size_bytes INTEGER NOT NULL, file_name TEXT NOT NULL, used_at INTEGER NOT NULL
) STRICT`;
/** The least recently used records beyond these are forgotten; a URL without one is downloaded to know its digest. */
const maxRecords = 10_000;
/** A time of modification tells two versions apart only when both cannot fall into one second (RFC 9110, 8.8.2.2). */
const strongAfterMs = 60_000;

interface DownloadRecord {
  readonly etag: string;
  readonly last_modified: string;
  readonly digest: string;
  readonly size_bytes: number;
  readonly file_name: string;
}

interface Downloaded {
  readonly path: string;
  readonly digest: string;
  readonly fileName: string;
  readonly lastModifiedMs: number | undefined;
}

/**
 * Files by http and https. The digest of a URL is what a build's cache is keyed by; it comes from the checksum that was given,
 * from an earlier download that the server calls unchanged (a HEAD with its ETag, or with a Last-Modified that is strong), or
 * from downloading. Bytes are as the server stores them: none are unpacked for a `Content-Encoding`. Proxies are those of the
 * engine's environment.
 *
 *     await using download = await source.open({ url }, signal);
 *     if (!cache.has(download.digest)) copy(await download.file(signal));
 */
export class HttpSource {
  readonly #db: Database;
  readonly #folder: string;
  readonly #limits: HttpLimits;

  constructor(options: { db: Database; paths: Paths; limits?: Partial<HttpLimits> }) {
    this.#db = options.db;
    this.#folder = options.paths.temporary;
    this.#limits = { ...defaultHttpLimits, ...options.limits };
    this.#db.run(schema);
  }

  /** Throws `invalidArgument` for what is no http URL or checksum, else what the server or the network says. */
  async open(file: HttpFile, signal?: AbortSignal): Promise<HttpDownload> {
    const { url, authorization } = parseHttpUrl(file.url);
    const asked = { url, authorization: file.authorization ?? authorization };
    const checksum = file.checksum === undefined ? undefined : checkChecksum(file.checksum);
    if (checksum !== undefined) {
      const known = { digest: checksum, fileName: httpFileName(url, null), lastModifiedMs: undefined };
      return this.#lazy(asked, known);
    }
    const unchanged = await this.#unchanged(asked, signal);
    if (unchanged) return this.#lazy(asked, unchanged);
    const downloaded = await this.#download(asked, { signal });
    return {
      ...downloaded,
      file: async () => downloaded.path,
      [Symbol.asyncDispose]: async () => remove(downloaded.path),
    };
  }

  #lazy(asked: Asked, known: Omit<Downloaded, "path">): HttpDownload {
    let path: string | undefined;
    const file = async (signal?: AbortSignal): Promise<string> => {
      path ??= (await this.#download(asked, { signal, expected: known.digest })).path;
      return path;
    };
    return { ...known, file, [Symbol.asyncDispose]: async () => (path === undefined ? undefined : remove(path)) };
  }

  /** What an earlier download of the URL was, when the server says that it still holds. */
  async #unchanged(asked: Asked, signal: AbortSignal | undefined): Promise<Omit<Downloaded, "path"> | undefined> {
    const record = this.#db
      .query<DownloadRecord, [string]>("SELECT * FROM http_downloads WHERE url = ?")
      .get(asked.url.href);
    if (!record) return undefined;
    const headers: Record<string, string> = record.etag === "" ? {} : { "If-None-Match": record.etag };
    let response: Response;
    try {
      response = await sendHttp({
        method: "HEAD",
        ...asked,
        headers,
        limits: { ...this.#limits, attempts: 1 },
        signal,
      });
    } catch (error) {
      signal?.throwIfAborted();
      // Some servers know no HEAD: then the download tells, or says what is wrong.
      if (error instanceof EngineError) return undefined;
      throw error;
    }
    await response.body?.cancel();
    if (!isSame(record, response)) return undefined;
    this.#db.run("UPDATE http_downloads SET used_at = ? WHERE url = ?", [Date.now(), asked.url.href]);
    return { digest: record.digest, fileName: record.file_name, lastModifiedMs: parseTime(record.last_modified) };
  }

  async #download(asked: Asked, options: { signal?: AbortSignal | undefined; expected?: string }): Promise<Downloaded> {
    const { signal, expected } = options;
    const request = { method: "GET", ...asked, limits: this.#limits, signal } as const;
    const response = await sendHttp(request);
    const path = join(this.#folder, `build-http-${newId().slice(0, 16)}`);
    try {
      const { digest, sizeBytes } = await writeBody(httpBody(response, request), path);
      if (expected !== undefined && digest !== expected) {
        throw new EngineError(
          "invalidArgument",
          `digest mismatch for ${shownUrl(asked.url)}: ${digest} (expected: ${expected})`,
        );
      }
      const fileName = httpFileName(asked.url, response.headers.get("content-disposition"));
      this.#record(asked, { response, digest, sizeBytes, fileName });
      return { path, digest, fileName, lastModifiedMs: parseTime(response.headers.get("last-modified")) };
    } catch (error) {
      remove(path);
      throw error;
    }
  }

  #record(
    { url }: Asked,
    {
      response,
      digest,
      sizeBytes,
      fileName,
    }: { response: Response; digest: string; sizeBytes: number; fileName: string },
  ): void {
    const lastModified = response.headers.get("last-modified") ?? "";
    const etag = response.headers.get("etag") ?? "";
    if (etag === "" && !isStrongTime(response)) {
      this.#db.run("DELETE FROM http_downloads WHERE url = ?", [url.href]);
      return;
    }
    this.#db.transaction(() => {
      this.#db.run("INSERT OR REPLACE INTO http_downloads VALUES (?, ?, ?, ?, ?, ?, ?)", [
        url.href,
        etag,
        lastModified,
        digest,
        sizeBytes,
        fileName,
        Date.now(),
      ]);
      this.#db.run(
        "DELETE FROM http_downloads WHERE url IN (SELECT url FROM http_downloads ORDER BY used_at DESC LIMIT -1 OFFSET ?)",
        [maxRecords],
      );
    })();
  }
}

interface Asked {
  readonly url: URL;
  readonly authorization: string | undefined;
}

async function writeBody(
  body: AsyncIterable<Uint8Array>,
  path: string,
): Promise<{ digest: string; sizeBytes: number }> {
  const hasher = new Bun.CryptoHasher("sha256");
  let sizeBytes = 0;
  await using file = await open(path, "wx", 0o600);
  for await (const chunk of body) {
    hasher.update(chunk);
    sizeBytes += chunk.length;
    for (let done = 0; done < chunk.length;) done += (await file.write(chunk, done)).bytesWritten;
  }
  return { digest: `sha256:${hasher.digest("hex")}`, sizeBytes };
}

function isSame(record: DownloadRecord, response: Response): boolean {
  const etag = response.headers.get("etag") ?? "";
  // A 304 without an ETag answers the one that was asked about.
  if (record.etag !== "") {
    if (etag === "") return response.status === 304;
    return etagValue(etag) === etagValue(record.etag);
  }
  const length = response.headers.get("content-length");
  const sameTime = response.headers.get("last-modified") === record.last_modified;
  return sameTime && (length === null || Number(length) === record.size_bytes);
}

/** Servers that compress on the way mark the same file's tag as weak, or with a suffix. */
function etagValue(etag: string): string {
  return etag.replace(/^W\//, "").replace(/-(gzip|br|zstd)"$/, '"');
}

function isStrongTime(response: Response): boolean {
  const modified = parseTime(response.headers.get("last-modified"));
  const date = parseTime(response.headers.get("date"));
  return modified !== undefined && date !== undefined && date - modified >= strongAfterMs;
}

function parseTime(text: string | null): number | undefined {
  const time = Date.parse(text ?? "");
  return Number.isNaN(time) ? undefined : time;
}

function checkChecksum(checksum: string): string {
  if (/^sha256:[0-9a-f]{64}$/.test(checksum)) return checksum;
  throw new EngineError(
    "invalidArgument",
    `invalid checksum "${checksum}": only sha256:<64 hexadecimal digits> is verified`,
  );
}

function remove(path: string): void {
  rmSync(path, { force: true });
}
