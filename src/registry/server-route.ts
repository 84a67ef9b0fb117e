import { requireDigest, serveBlob, unknownBlob } from "./server-blobs.ts";
import type { RegistryCache } from "./server-cache.ts";
import type { Happening } from "./server-events.ts";
import { RegistryFailure } from "./server-failure.ts";
import type { Gate, Need } from "./server-gate.ts";
import { isRepositoryName } from "./server-grammar.ts";
import { listReferrers, listRepositories, listTags } from "./server-listings.ts";
import { deleteManifest, pushManifest, serveManifest } from "./server-manifests.ts";
import type { RegistryMetrics } from "./server-metrics.ts";
import type { RegistryLimits } from "./server-options.ts";
import type { RegistryRecords } from "./server-records.ts";
import type { Turns } from "./server-turns.ts";
import { beginUpload, continueUpload } from "./server-upload-calls.ts";
import type { Uploads } from "./server-uploads.ts";
import type { Uses } from "./server-uses.ts";
import type { Webhooks } from "./server-webhooks.ts";
import type { RegistryStorage } from "./storage-contract.ts";

export interface RegistryServices {
  readonly records: RegistryRecords;
  readonly storage: RegistryStorage;
  readonly digests: Turns;
  readonly uploads: Uploads;
  readonly limits: RegistryLimits;
  readonly log: (level: "info" | "error", message: string) => void;
  /** Undefined: anyone may do everything. */
  readonly gate: Gate | undefined;
  readonly keepsEverything: boolean;
  readonly immutableTags: boolean;
  /** Undefined: nothing is counted, and there is no /metrics. */
  readonly metrics: RegistryMetrics | undefined;
  readonly uses: Uses;
  /** Undefined: nobody is told of anything. */
  readonly webhooks: Webhooks | undefined;
  /** Undefined: this is no cache. */
  readonly cache: RegistryCache | undefined;
}

/** The connection that a request came by. */
export interface Connection {
  /** Switches its idle limit off: storing a large blob takes as long as it takes. */
  readonly unhurried: () => void;
  /** The client's `host:port`. */
  readonly address: () => string | undefined;
}

interface Call {
  readonly request: Request;
  readonly services: RegistryServices;
  readonly repository: string;
  /** The path's last part: a tag, a digest, an upload. */
  readonly part: string;
  readonly query: URLSearchParams;
  readonly connection: Connection;
}

interface Endpoint {
  /** Its first group is the repository, its second the last part. */
  readonly pattern: RegExp;
  readonly methods: Readonly<Record<string, (call: Call) => Response | Promise<Response>>>;
}

/** The endpoints of the distribution specification 1.1 below /v2/<name>/, the more particular first. */
const endpoints: readonly Endpoint[] = [
  { pattern: /^\/v2\/(.+)\/blobs\/uploads\/?()$/, methods: { POST: uploadCall } },
  {
    pattern: /^\/v2\/(.+)\/blobs\/uploads\/([^/]+)$/,
    methods: { GET: uploadCall, HEAD: uploadCall, PATCH: uploadCall, PUT: uploadCall, DELETE: uploadCall },
  },
  { pattern: /^\/v2\/(.+)\/blobs\/([^/]+)$/, methods: { GET: blobCall, HEAD: blobCall, DELETE: deleteBlob } },
  {
    pattern: /^\/v2\/(.+)\/manifests\/([^/]+)$/,
    methods: { GET: manifestCall, HEAD: manifestCall, PUT: putManifestCall, DELETE: deleteManifestCall },
  },
  { pattern: /^\/v2\/(.+)\/tags\/list()$/, methods: { GET: tagsCall, HEAD: tagsCall } },
  { pattern: /^\/v2\/(.+)\/referrers\/([^/]+)$/, methods: { GET: referrersCall, HEAD: referrersCall } },
];

/** Answers one request. Throws `RegistryFailure`, and whatever else goes wrong. */
export async function route(request: Request, services: RegistryServices, connection: Connection): Promise<Response> {
  const { pathname, searchParams: query } = new URL(request.url);
  if (pathname === "/token" && services.gate) return services.gate.giveToken(request);
  if (pathname === "/metrics" && services.metrics) return metrics(request, services, services.metrics);
  if (pathname === "/v2" || pathname === "/v2/") return base(request, services);
  if (pathname === "/v2/_catalog") return catalog(request, services, query);
  for (const { pattern, methods } of endpoints) {
    const match = pattern.exec(pathname);
    if (!match) continue;
    const [, repository = "", encoded = ""] = match;
    if (!isRepositoryName(repository)) {
      const message = `"${repository.slice(0, 300)}" is no repository's name: lower-case parts between "/", at most 255 characters`;
      throw new RegistryFailure("NAME_INVALID", message, { detail: { name: repository.slice(0, 300) } });
    }
    const handler = Object.hasOwn(methods, request.method) ? methods[request.method] : undefined;
    if (!handler) throw unknownMethod(request, Object.keys(methods));
    services.cache?.requireReading(request.method);
    return handler({ request, services, repository, part: decode(encoded), query, connection });
  }
  throw new RegistryFailure("UNSUPPORTED", `There is nothing at "${pathname.slice(0, 300)}"`, { status: 404 });
}

async function base(request: Request, { gate }: RegistryServices): Promise<Response> {
  if (!["GET", "HEAD"].includes(request.method)) throw unknownMethod(request, ["GET", "HEAD"]);
  await gate?.requireUser(request);
  return Response.json({});
}

async function metrics(request: Request, { gate }: RegistryServices, counted: RegistryMetrics): Promise<Response> {
  if (request.method !== "GET") throw unknownMethod(request, ["GET"]);
  await gate?.requireLogin(request);
  return new Response(counted.toText(), { headers: { "Content-Type": "text/plain; version=0.0.4; charset=utf-8" } });
}

async function catalog(request: Request, services: RegistryServices, query: URLSearchParams): Promise<Response> {
  if (request.method !== "GET") throw unknownMethod(request, ["GET"]);
  const allowed = (await services.gate?.requireUser(request)) ?? (() => true);
  return listRepositories(services, query, allowed);
}

async function uploadCall(call: Call): Promise<Response> {
  const { request, repository, query, part, services, connection } = call;
  const tell = await require(call, "push");
  const mayPull = async (from: string, isNamed: boolean): Promise<boolean> => {
    const need: Need = { repository: from, action: "pull" };
    if (!services.gate) return true;
    return isNamed
      ? services.gate.mayWithToken(request, [{ repository, action: "push" }, need])
      : services.gate.may(request, need);
  };
  const uploadServices = { ...services, mayPull, tell };
  const upload = { request, repository, query, whenArrived: connection.unhurried };
  return part === "" ? beginUpload(uploadServices, upload) : continueUpload(uploadServices, { ...upload, id: part });
}

async function blobCall(call: Call): Promise<Response> {
  const { request, services, repository, part: digest } = call;
  const tell = await require(call, "pull");
  const response = await (services.cache ?? { serveBlob: serveHere(services) }).serveBlob({
    request,
    repository,
    digest,
  });
  if (request.method === "GET" && response.ok) {
    const sizeBytes = services.webhooks && services.records.linkedSize(repository, digest);
    tell({ action: "pull", kind: "blob", repository, digest, ...(sizeBytes === undefined ? {} : { sizeBytes }) });
  }
  return response;
}

function serveHere(services: RegistryServices): RegistryCache["serveBlob"] {
  return (call) => serveBlob(services, call);
}

async function deleteBlob(call: Call): Promise<Response> {
  const tell = await requireDeletion(call);
  const { repository, part: digest } = call;
  requireDigest(digest);
  if (!call.services.records.unlink(repository, digest)) throw unknownBlob(repository, digest);
  tell({ action: "delete", kind: "blob", repository, digest });
  return new Response(null, { status: 202 });
}

async function manifestCall(call: Call): Promise<Response> {
  const tell = await require(call, "pull");
  const { services, request, repository, part: reference } = call;
  await services.cache?.refresh(repository, reference);
  const response = serveManifest(services, { request, repository, reference });
  if (request.method === "GET" && response.ok) tell(manifestHappening(call, "pull", response));
  return response;
}

async function putManifestCall(call: Call): Promise<Response> {
  const tell = await require(call, "push");
  const { services, request, repository, part: reference, query } = call;
  const response = await pushManifest(services, { request, repository, reference, tags: query.getAll("tag") });
  const happening = manifestHappening(call, "push", response);
  const tags = response.headers.get("OCI-Tag")?.split(", ") ?? [];
  tell(happening);
  for (const tag of tags) tell({ ...happening, tag });
  return response;
}

/** What an answer says of the manifest that came or went. */
function manifestHappening(call: Call, action: "push" | "pull", response: Response): Happening {
  const { services, repository, part: reference } = call;
  const digest = response.headers.get("Docker-Content-Digest") ?? "";
  const manifest = services.webhooks && services.records.manifest(repository, digest);
  return {
    action,
    kind: "manifest",
    repository,
    digest,
    ...(manifest ? { mediaType: manifest.mediaType, sizeBytes: manifest.bytes.length } : {}),
    ...(reference.includes(":") ? {} : { tag: reference }),
  };
}

async function deleteManifestCall(call: Call): Promise<Response> {
  const tell = await requireDeletion(call);
  const { repository, part: reference } = call;
  const response = deleteManifest(call.services, { ...call, reference });
  const named = reference.includes(":") ? { digest: reference } : { tag: reference };
  tell({ action: "delete", kind: "manifest", repository, ...named });
  return response;
}

async function tagsCall(call: Call): Promise<Response> {
  await require(call, "pull");
  const { services, repository, query } = call;
  const local = (): Response => listTags(services, repository, query);
  return services.cache ? services.cache.list({ repository, path: "tags/list", query }, local) : local();
}

async function referrersCall(call: Call): Promise<Response> {
  await require(call, "pull");
  const { services, repository, part: digest, query } = call;
  requireDigest(digest);
  const local = (): Response => listReferrers(services, { repository, digest, query });
  return services.cache ? services.cache.list({ repository, path: `referrers/${digest}`, query }, local) : local();
}

/** Throws unless the asker may; then tells in the asker's name what happened. */
async function require(
  { request, services, repository, connection }: Call,
  action: Need["action"],
): Promise<(happening: Happening) => void> {
  const user = await services.gate?.require(request, [{ repository, action }]);
  return (happening) => {
    if (!services.webhooks) return;
    const address = connection.address();
    services.webhooks.tell(happening, { request, actor: user ?? "", ...(address === undefined ? {} : { address }) });
  };
}

async function requireDeletion(call: Call): Promise<(happening: Happening) => void> {
  const tell = await require(call, "delete");
  if (call.services.keepsEverything) throw new RegistryFailure("UNSUPPORTED", "This registry deletes nothing");
  return tell;
}

function unknownMethod(request: Request, known: readonly string[]): RegistryFailure {
  const message = `${request.method} is not known here: ${known.join(", ")} are`;
  return new RegistryFailure("UNSUPPORTED", message, { headers: { Allow: known.join(", ") } });
}

/** A client may write a digest's colon as %3A. */
function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
