import { requireDigest } from "./server-blobs.ts";
import type { Happening } from "./server-events.ts";
import { RegistryFailure } from "./server-failure.ts";
import { isRegistryDigest, isRepositoryName } from "./server-grammar.ts";
import type { RegistryLimits } from "./server-options.ts";
import type { RegistryRecords } from "./server-records.ts";
import { isOverQuota, overQuota, uploadHeaders, type Chunk, type Uploads } from "./server-uploads.ts";

/** Repositories that are looked at for a blob whose holder the client did not name. */
const maxHoldersAsked = 100;

export interface UploadCallServices {
  readonly uploads: Uploads;
  readonly records: RegistryRecords;
  readonly limits: RegistryLimits;
  /** Whether the asker may pull from the repository that a mount names. */
  readonly mayPull: (repository: string, isNamed: boolean) => Promise<boolean>;
  /** Is told of a blob that is in the repository now. */
  readonly tell: (happening: Happening) => void;
}

interface UploadCall {
  readonly request: Request;
  readonly repository: string;
  readonly query: URLSearchParams;
  /** See `Chunk`. */
  readonly whenArrived: () => void;
}

/** POST …/blobs/uploads/: mounts a blob, takes one whole (`digest`), or begins an upload. */
export async function beginUpload(services: UploadCallServices, call: UploadCall): Promise<Response> {
  const { request, repository, query, whenArrived } = call;
  const { uploads, records } = services;
  const mounted = await mount(services, { repository, query });
  if (mounted) return mounted;
  const digest = query.get("digest");
  if (digest !== null) requireDigest(digest);
  const algorithm = query.get("digest-algorithm") ?? (digest?.startsWith("sha512:") ? "sha512" : "sha256");
  if (algorithm !== "sha256" && algorithm !== "sha512") {
    throw new RegistryFailure(
      "DIGEST_INVALID",
      `The algorithm "${algorithm.slice(0, 50)}" is neither sha256 nor sha512`,
    );
  }
  const id = await uploads.begin(repository, algorithm);
  if (digest === null) return new Response(null, { status: 202, headers: uploadHeaders(repository, id, 0) });
  try {
    await uploads.finish(id, { ...chunkOf(request, repository), whenArrived }, digest);
  } catch (error) {
    // Nobody knows of this upload, so nobody can go on with it.
    if (records.upload(id)) await uploads.cancel(id, repository);
    throw error;
  }
  tellOfPush(services, repository, digest);
  return stored(repository, digest);
}

function tellOfPush(
  { records, tell }: Pick<UploadCallServices, "records" | "tell">,
  repository: string,
  digest: string,
): void {
  tell({ action: "push", kind: "blob", repository, digest, sizeBytes: records.blobSize(digest) ?? 0 });
}

/**
 * Mounts the blob `mount` from the repository `from`, or from any that the asker may pull from where it is not named ("anonymous mount").
 * Undefined where that cannot be: then it is uploaded, since the specification wants no error here.
 */
async function mount(
  { records, limits, mayPull, tell }: UploadCallServices,
  { repository, query }: Pick<UploadCall, "repository" | "query">,
): Promise<Response | undefined> {
  const digest = query.get("mount") ?? "";
  const from = query.get("from");
  if (!isRegistryDigest(digest) || (from !== null && !isRepositoryName(from))) return undefined;
  const holders = from === null ? records.repositoriesWith(digest, maxHoldersAsked) : [from];
  for (const holder of holders) {
    if (records.linkedSize(holder, digest) === undefined || !(await mayPull(holder, from !== null))) continue;
    // Asked again after the wait: it may have been collected meanwhile.
    const size = records.linkedSize(holder, digest);
    if (size === undefined) continue;
    if (isOverQuota({ records, limits }, { repository, digest, size })) throw overQuota(repository, limits);
    records.link(repository, digest);
    tell({ action: "mount", kind: "blob", repository, digest, sizeBytes: size, fromRepository: holder });
    return stored(repository, digest);
  }
  return undefined;
}

/** GET, PATCH, PUT and DELETE of an upload in progress. */
export async function continueUpload(
  services: UploadCallServices,
  { request, repository, query, id, whenArrived }: UploadCall & { id: string },
): Promise<Response> {
  const { uploads } = services;
  switch (request.method) {
    case "GET":
    case "HEAD":
      return new Response(null, {
        status: 204,
        headers: uploadHeaders(repository, id, uploads.offset(id, repository)),
      });
    case "PATCH": {
      const offset = await uploads.append(id, chunkOf(request, repository));
      return new Response(null, { status: 202, headers: uploadHeaders(repository, id, offset) });
    }
    case "PUT": {
      uploads.offset(id, repository);
      requireDigest(query.get("digest") ?? "");
      const digest = query.get("digest") ?? "";
      await uploads.finish(id, { ...chunkOf(request, repository), whenArrived }, digest);
      tellOfPush(services, repository, digest);
      return stored(repository, digest);
    }
    default:
      await uploads.cancel(id, repository);
      return new Response(null, { status: 204 });
  }
}

function stored(repository: string, digest: string): Response {
  const headers = { Location: `/v2/${repository}/blobs/${digest}`, "Docker-Content-Digest": digest };
  return new Response(null, { status: 201, headers });
}

/** `Content-Range` here is `<first>-<last>`, without a unit; `bytes first-last/size` as RFC 9110 has it is understood too. */
function chunkOf(request: Request, repository: string): Chunk {
  const header = request.headers.get("Content-Range");
  const announced = request.headers.get("Content-Length");
  const length = announced === null ? undefined : Number(announced);
  const body = request.body ?? undefined;
  if (header === null) return { repository, start: undefined, length, body };
  const match = /^(?:bytes[ =])?(\d{1,15})-(\d{1,15})(?:\/(?:\d+|\*))?$/.exec(header.trim());
  const start = Number(match?.[1]);
  const size = Number(match?.[2]) - start + 1;
  if (!match || size < 1) {
    throw new RegistryFailure("BLOB_UPLOAD_INVALID", `Content-Range "${header.slice(0, 100)}" is no range`, {
      status: 416,
    });
  }
  if (length !== undefined && length !== size) {
    throw new RegistryFailure("SIZE_INVALID", `The range has ${size} bytes, and the body has ${length}`);
  }
  return { repository, start, length: size, body };
}
