// A small object store with the part of S3 that a registry needs. It computes each request's signature itself, by the description of
// AWS Signature Version 4, and refuses what differs.
import { createHash, createHmac } from "node:crypto";

export interface S3Server extends AsyncDisposable {
  readonly endpoint: string;
  readonly objects: Map<string, Uint8Array<ArrayBuffer>>;
  /** Multipart uploads that were begun and neither completed nor aborted. */
  readonly openUploads: Map<string, Map<number, Uint8Array>>;
  /** Answers every request with 503 while it is set. */
  isDown: boolean;
}

export const s3Keys = { accessKeyId: "AKTEST", secretAccessKey: "a secret key", region: "eu-test-1" };

export function startS3(bucket: string): S3Server {
  const objects = new Map<string, Uint8Array<ArrayBuffer>>();
  const openUploads = new Map<string, Map<number, Uint8Array>>();
  const state = { isDown: false };
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: async (request) => {
      if (state.isDown) return failure(503, "ServiceUnavailable");
      if (!isSigned(request)) return failure(403, "SignatureDoesNotMatch");
      const { pathname, searchParams } = new URL(request.url);
      if (!`${pathname}/`.startsWith(`/${bucket}/`)) return failure(404, "NoSuchBucket");
      const key = decodeURIComponent(pathname.slice(bucket.length + 2));
      if (searchParams.has("uploads") || searchParams.has("uploadId")) {
        return multipart(request, { key, query: searchParams, objects, openUploads });
      }
      if (key === "") return list(searchParams, objects);
      return single(request, key, objects);
    },
  });
  return {
    endpoint: `http://127.0.0.1:${server.port}`,
    objects,
    openUploads,
    get isDown() {
      return state.isDown;
    },
    set isDown(value: boolean) {
      state.isDown = value;
    },
    [Symbol.asyncDispose]: () => server.stop(true),
  };
}

async function single(request: Request, key: string, objects: S3Server["objects"]): Promise<Response> {
  const object = objects.get(key);
  if (request.method === "PUT") {
    objects.set(key, new Uint8Array(await request.arrayBuffer()));
    return new Response(null, { headers: { ETag: '"1"' } });
  }
  if (request.method === "DELETE") {
    objects.delete(key);
    return new Response(null, { status: 204 });
  }
  if (!object) return request.method === "HEAD" ? new Response(null, { status: 404 }) : failure(404, "NoSuchKey");
  const headers = { ETag: '"1"', "Last-Modified": "Wed, 01 Jan 2020 00:00:00 GMT" };
  if (request.method === "HEAD")
    return new Response(null, { headers: { ...headers, "Content-Length": String(object.length) } });
  const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.get("Range") ?? "");
  if (!range) return new Response(object, { headers });
  return new Response(object.slice(Number(range[1]), range[2] === "" ? undefined : Number(range[2]) + 1), {
    status: 206,
    headers,
  });
}

async function multipart(
  request: Request,
  {
    key,
    query,
    objects,
    openUploads,
  }: { key: string; query: URLSearchParams } & Pick<S3Server, "objects" | "openUploads">,
): Promise<Response> {
  const xml = (body: string): Response =>
    new Response(`<?xml version="1.0" encoding="UTF-8"?>${body}`, { headers: { "Content-Type": "application/xml" } });
  if (query.has("uploads")) {
    const id = crypto.randomUUID();
    openUploads.set(id, new Map());
    return xml(
      `<InitiateMultipartUploadResult><Key>${key}</Key><UploadId>${id}</UploadId></InitiateMultipartUploadResult>`,
    );
  }
  const id = query.get("uploadId") ?? "";
  const parts = openUploads.get(id);
  if (!parts) return failure(404, "NoSuchUpload");
  if (request.method === "PUT") {
    parts.set(Number(query.get("partNumber")), new Uint8Array(await request.arrayBuffer()));
    return new Response(null, { headers: { ETag: `"${query.get("partNumber")}"` } });
  }
  openUploads.delete(id);
  if (request.method === "DELETE") return new Response(null, { status: 204 });
  const order = [...parts.keys()].sort((a, b) => a - b);
  objects.set(key, new Uint8Array(Buffer.concat(order.map((number) => parts.get(number) ?? new Uint8Array()))));
  return xml(`<CompleteMultipartUploadResult><Key>${key}</Key><ETag>"1"</ETag></CompleteMultipartUploadResult>`);
}

function list(query: URLSearchParams, objects: S3Server["objects"]): Response {
  // Two a page: whoever lists must go on.
  const limit = Math.min(2, Number(query.get("max-keys") ?? 1000));
  const keys = [...objects.keys()]
    .filter((key) => key.startsWith(query.get("prefix") ?? "") && key > (query.get("start-after") ?? ""))
    .sort();
  const contents = keys
    .slice(0, limit)
    .map((key) => `<Contents><Key>${key}</Key><Size>${objects.get(key)?.length}</Size><ETag>"1"</ETag></Contents>`);
  const body = `<ListBucketResult><IsTruncated>${keys.length > limit}</IsTruncated>${contents.join("")}</ListBucketResult>`;
  return new Response(body, { headers: { "Content-Type": "application/xml" } });
}

function failure(status: number, code: string): Response {
  const body = `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>${code}</Message></Error>`;
  return new Response(body, { status, headers: { "Content-Type": "application/xml" } });
}

interface Signed {
  readonly credential: string;
  readonly names: string;
  readonly signature: string;
  readonly date: string;
  readonly payload: string;
}

/** What AWS Signature Version 4 says of a request: in the Authorization header, or in the query of an address that was given away. */
function readSigned(request: Request): Signed | undefined {
  const { searchParams } = new URL(request.url);
  const field = (name: string): string => searchParams.get(`X-Amz-${name}`) ?? "";
  if (searchParams.has("X-Amz-Signature")) {
    const date = field("Date");
    const sentMs = Date.parse(date.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, "$1-$2-$3T$4:$5:$6Z"));
    if (!(Date.now() < sentMs + Number(field("Expires")) * 1000)) return undefined;
    const [credential, names, signature] = [field("Credential"), field("SignedHeaders"), field("Signature")];
    return { credential, names, signature, date, payload: "UNSIGNED-PAYLOAD" };
  }
  const pattern = /^AWS4-HMAC-SHA256 Credential=([^,]+), SignedHeaders=([^,]+), Signature=(\w+)$/;
  const [, credential = "", names = "", signature = ""] =
    pattern.exec(request.headers.get("Authorization") ?? "") ?? [];
  const header = (name: string): string => request.headers.get(name) ?? "";
  const [date, payload] = [header("x-amz-date"), header("x-amz-content-sha256")];
  return { credential, names, signature, date, payload };
}

function isSigned(request: Request): boolean {
  const signed = readSigned(request);
  const match = /^([^/]+)\/((\d{8})\/([^/]+)\/s3\/aws4_request)$/.exec(signed?.credential ?? "");
  if (!match || !signed) return false;
  const { names, signature, date, payload } = signed;
  const [, keyId, scope = "", day = "", region = ""] = match;
  if (keyId !== s3Keys.accessKeyId || region !== s3Keys.region) return false;
  const { pathname, searchParams } = new URL(request.url);
  const encode = (text: string): string =>
    encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
  searchParams.delete("X-Amz-Signature");
  const query = [...searchParams].map(([name, value]) => `${encode(name)}=${encode(value)}`).sort();
  const headers = names.split(";").map((name) => `${name}:${request.headers.get(name)?.trim()}\n`);
  const canonical = [request.method, pathname, query.join("&"), headers.join(""), names, payload].join("\n");
  const hash = createHash("sha256").update(canonical).digest("hex");
  const text = ["AWS4-HMAC-SHA256", date, scope, hash].join("\n");
  const sign = (key: string | Buffer, value: string): Buffer => createHmac("sha256", key).update(value).digest();
  const key = ["s3", "aws4_request"].reduce<Buffer>(sign, sign(sign(`AWS4${s3Keys.secretAccessKey}`, day), region));
  return sign(key, text).toString("hex") === signature;
}
