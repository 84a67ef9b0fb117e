import { requireDigest, serveBlob, unknownBlob } from "./server-blobs.ts";
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
import type { RegistryStorage } from "./storage-contract.ts";

export interface RegistryServices {
  readonly records: RegistryRecords;
  readonly storage: RegistryStorage;
  readonly digests: Turns;
  readonly uploads: Uploads;
  readonly limits: RegistryLimits;
  /** Undefined: anyone may do everything. */
  readonly gate: Gate | undefined;
  readonly keepsEverything: boolean;
  readonly immutableTags: boolean;
  /** Undefined: nothing is counted, and there is no /metrics. */
  readonly metrics: RegistryMetrics | undefined;
}

interface Call {
  readonly request: Request;
  readonly services: RegistryServices;
  readonly repository: string;
  /** The path's last part: a tag, a digest, an upload. */
  readonly part: string;
  readonly query: URLSearchParams;
  /** Switches the idle limit off: storing a large blob takes as long as it takes. */
  readonly unhurried: () => void;
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
export async function route(request: Request, services: RegistryServices, unhurried: () => void): Promise<Response> {
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
    return handler({ request, services, repository, part: decode(encoded), query, unhurried });
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
  const { request, repository, query, part, services, unhurried } = call;
  await require(call, "push");
  const mayPull = async (from: string): Promise<boolean> =>
    (await services.gate?.may(request, { repository: from, action: "pull" })) ?? true;
  const uploadServices = { ...services, mayPull };
  if (part === "") return beginUpload(uploadServices, { request, repository, query, whenArrived: unhurried });
  return continueUpload(uploadServices, { request, repository, query, id: part, whenArrived: unhurried });
}

async function blobCall(call: Call): Promise<Response> {
  await require(call, "pull");
  return serveBlob(call.services, { request: call.request, repository: call.repository, digest: call.part });
}

async function deleteBlob(call: Call): Promise<Response> {
  await requireDeletion(call);
  requireDigest(call.part);
  if (!call.services.records.unlink(call.repository, call.part)) throw unknownBlob(call.repository, call.part);
  return new Response(null, { status: 202 });
}

async function manifestCall(call: Call): Promise<Response> {
  await require(call, "pull");
  return serveManifest(call.services, { ...call, reference: call.part });
}

async function putManifestCall(call: Call): Promise<Response> {
  await require(call, "push");
  return pushManifest(call.services, { ...call, reference: call.part });
}

async function deleteManifestCall(call: Call): Promise<Response> {
  await requireDeletion(call);
  return deleteManifest(call.services, { ...call, reference: call.part });
}

async function tagsCall(call: Call): Promise<Response> {
  await require(call, "pull");
  return listTags(call.services, call.repository, call.query);
}

async function referrersCall(call: Call): Promise<Response> {
  await require(call, "pull");
  return listReferrers(call.services, { repository: call.repository, digest: call.part, query: call.query });
}

async function require({ request, services, repository }: Call, action: Need["action"]): Promise<void> {
  await services.gate?.require(request, [{ repository, action }]);
}

async function requireDeletion(call: Call): Promise<void> {
  await require(call, "delete");
  if (call.services.keepsEverything) throw new RegistryFailure("UNSUPPORTED", "This registry deletes nothing");
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
