import {
  attestOptions,
  cacheSource,
  cacheTarget,
  defaultFrontendOptions,
  epochOf,
  exporterOptions,
  type BuildLimits,
  type BuildSession,
  type ClassicBuildRequest,
  type Entitlement,
  type ExporterOptions,
} from "../../build/index.ts";
import { EngineError, parseSize } from "../../common/index.ts";
import { isOutputType } from "../../spec/index.ts";
import type { Credentials } from "../../registry/index.ts";
import type { Engine } from "../../engine/index.ts";
import { json, jsonLines } from "../reply.ts";
import type { ApiRequest } from "../request.ts";
import type { Routes } from "../router.ts";
import type { LoadBuildkit } from "./buildkit.ts";
import { withErrors } from "./images.ts";

/** Parameters of `POST /build` whose work is not built. A default value passes; anything else is refused by name. */
const unbuilt: readonly (readonly [name: string, harmless: readonly string[]])[] = [
  ["squash", ["", "0", "false"]],
  ["securityopt", ["", "null", "[]"]],
  ["isolation", ["", "default"]],
];

export function buildRoutes(engine: Engine, buildkit: LoadBuildkit): Routes {
  return {
    "POST /build": async (request) => {
      refuseUnbuilt(request);
      const options = classicOptions(request);
      const sessionId = request.text("session");
      if (sessionId !== undefined) {
        const version = request.text("version") === "2" ? 2 : 1;
        const buildId = request.text("buildid") ?? "";
        const outputs = outputsOf(request);
        if (version === 1) refuseOutputs(outputs, options);
        return jsonLines(
          withErrors((await buildkit()).builds.build({ sessionId, buildId, version, options, outputs })),
        );
      }
      refuseOutputs(outputsOf(request), options);
      return jsonLines(withErrors(engine.builds.build(options)));
    },
    "POST /build/prune": async (request) => {
      const keep = request.text("reserved-space") ?? request.text("keep-storage") ?? request.text("max-used-space");
      const { deleted, spaceReclaimed } = await engine.builds.prune({
        all: request.flag("all"),
        filters: request.filters(),
        keepBytes: keep === undefined || keep === "" || keep === "0" ? undefined : parseSize(keep),
      });
      return json({ CachesDeleted: deleted, SpaceReclaimed: spaceReclaimed });
    },
    "GET /vitrine/build-cache": async (request) => json({ BuildCache: engine.builds.usage(request.filters()) }),
    "GET /vitrine/images/{name:image}/why": async (request) =>
      json({ Steps: await engine.builds.why(request.parameter("name")) }),
  };
}

function classicOptions(request: ApiRequest): ClassicBuildRequest {
  const buildArguments = map(request, "buildargs") as Record<string, string | null>;
  const noCacheFilter = list(request, "nocachefilter");
  const reproducible = request.flag("reproducible");
  const epoch = epochOf(request.text("sourcedateepoch") ?? buildArguments["SOURCE_DATE_EPOCH"]);
  const entitlements = list(request, "allow").map((name): Entitlement => {
    if (name === "network.host" || name === "security.insecure") return name;
    throw new EngineError("invalidArgument", `unknown entitlement "${name}": network.host or security.insecure`);
  });
  const remote = request.text("remote");
  return {
    context: request.body,
    frontend: {
      ...defaultFrontendOptions,
      fileName: request.text("dockerfile") ?? "Dockerfile",
      target: request.text("target"),
      arguments: buildArguments,
      labels: map(request, "labels") as Record<string, string>,
      noCache: request.flag("nocache") || (noCacheFilter.length > 0 ? noCacheFilter : false),
      platform: request.text("platform"),
      addHosts: list(request, "extrahosts"),
      networkMode: request.text("networkmode") || "default",
      contexts: map(request, "buildcontexts") as Record<string, string>,
      context: remote === "" || remote === "client-session" ? undefined : remote,
      pull: request.flag("pull"),
      attest: attestOptions({ sbom: request.text("sbom"), provenance: request.text("provenance") }),
      // The same time on every day: that of the archive formats' own beginning.
      sourceDateEpoch: epoch ?? (reproducible ? 0 : undefined),
      limits: limitsOf(request),
    },
    tags: request.query.getAll("t").filter((tag) => tag !== ""),
    // A classic client has always been given the host's network when it asked.
    entitlements: ["network.host", ...entitlements],
    cacheImages: list(request, "cachefrom"),
    cacheFrom: namedAttributes(request, "cacheimports").map(cacheSource),
    cacheTo: namedAttributes(request, "cacheto").map(cacheTarget),
    withoutImage: request.flag("withoutimage"),
    credentials: credentialsOfConfig(request),
    quiet: request.flag("q"),
    why: request.flag("why"),
    verify: request.flag("verify"),
    debug: request.flag("debug"),
    removeIntermediate: request.flag("rm", true),
    forceRemove: request.flag("forcerm"),
    signal: request.signal,
  };
}

/** `[{"Type":"local","Attrs":{…}}]`, as Docker's API has it. */
function outputsOf(request: ApiRequest): { id: number; options: ExporterOptions }[] {
  return namedAttributes(request, "outputs").map(({ type, attributes }, id) => {
    if (!isOutputType(type)) throw new EngineError("unsupported", `exporter "${type}" is not built`);
    return { id, options: exporterOptions({ type, attributes }) };
  });
}

function refuseOutputs(outputs: readonly unknown[], { cacheTo = [] }: ClassicBuildRequest): void {
  const what = outputs.length > 0 ? "outputs" : "cacheto";
  if (outputs.length === 0 && cacheTo.length === 0) return;
  throw new EngineError("invalidArgument", `${what}: a build hands its result over to a session, in version 2`);
}

function namedAttributes(
  request: ApiRequest,
  name: string,
): { type: string; attributes: Readonly<Record<string, string>> }[] {
  const value = jsonOf(request, name) ?? [];
  const refuse = (): never => {
    throw new EngineError(
      "invalidArgument",
      `${name}: ${JSON.stringify(value).slice(0, 200)} is no list of Type and Attrs`,
    );
  };
  if (!Array.isArray(value)) return refuse();
  return value.map((one: unknown) => {
    const { Type, Attrs } = (one ?? {}) as { Type?: unknown; Attrs?: unknown };
    const attributes = (Attrs ?? {}) as Record<string, unknown>;
    if (typeof Type !== "string" || typeof attributes !== "object") return refuse();
    if (Object.values(attributes).some((text) => typeof text !== "string")) return refuse();
    return { type: Type, attributes: attributes as Record<string, string> };
  });
}

function limitsOf(request: ApiRequest): BuildLimits {
  const number = (name: string): number | undefined => {
    const text = request.text(name);
    if (text === undefined || text === "" || text === "0") return undefined;
    if (/^-?\d{1,16}$/.test(text)) return Number(text);
    throw new EngineError("invalidArgument", `${name} "${text}" is no number`);
  };
  const ulimits = jsonOf(request, "ulimits");
  const members = {
    memory: number("memory"),
    memorySwap: number("memswap"),
    cpuShares: number("cpushares"),
    cpuPeriod: number("cpuperiod"),
    cpuQuota: number("cpuquota"),
    cpusetCpus: request.text("cpusetcpus") || undefined,
    cpusetMems: request.text("cpusetmems") || undefined,
    cgroupParent: request.text("cgroupparent") || undefined,
    shmSize: number("shmsize"),
    ulimits: Array.isArray(ulimits) && ulimits.length > 0 ? ulimits.map(ulimitOf) : undefined,
  };
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined));
}

function ulimitOf(value: unknown): { Name: string; Soft: number; Hard: number } {
  const { Name, Soft, Hard } = (value ?? {}) as Record<string, unknown>;
  if (typeof Name !== "string" || typeof Soft !== "number" || typeof Hard !== "number") {
    throw new EngineError("invalidArgument", `ulimits: ${JSON.stringify(value)} is no {Name, Soft, Hard}`);
  }
  return { Name, Soft, Hard };
}

/** `X-Registry-Config`: passwords by the names that registries have in the client's file. */
function credentialsOfConfig(request: ApiRequest): BuildSession["credentials"] {
  const header = request.header("x-registry-config");
  if (header === undefined || header === "") return async () => undefined;
  let all: Record<string, Credentials & { serveraddress?: string }>;
  try {
    all = JSON.parse(Buffer.from(header, "base64url").toString("utf8")) as typeof all;
  } catch {
    throw new EngineError("invalidArgument", "X-Registry-Config is not JSON in base64");
  }
  return async (host) => {
    const names = host === "docker.io" ? ["https://index.docker.io/v1/", "docker.io", "index.docker.io"] : [host];
    const found = Object.entries(all ?? {}).find(([name]) =>
      names.some((one) => name === one || name.replace(/^https?:\/\//, "").replace(/\/.*$/, "") === one),
    );
    return found?.[1];
  };
}

function refuseUnbuilt(request: ApiRequest): void {
  const hasSession = request.text("session") !== undefined;
  if (request.text("version") === "2" && !hasSession) {
    throw new EngineError("invalidArgument", "A build of version 2 needs a session, which holds its context");
  }
  if (request.text("remote") === "client-session" && !hasSession) {
    throw new EngineError("invalidArgument", "The context is the client's session, and the request names none");
  }
  if (request.text("remote") === "upload-request") {
    throw new EngineError(
      "unsupported",
      "A context that is uploaded by a second request is not built; send the tar itself",
    );
  }
  for (const [name, harmless] of unbuilt) {
    const value = request.query.get(name);
    if (value !== null && !harmless.includes(value)) {
      throw new EngineError("unsupported", `The build option ${name}="${value}" is not built yet; leave it out`);
    }
  }
}

/** A parameter that comes once for each value, or as a JSON list. */
function list(request: ApiRequest, name: string): string[] {
  return request.query.getAll(name).flatMap((text) => {
    if (!text.startsWith("[")) return text === "" || text === "null" ? [] : text.split(",");
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) ? value.map(String) : [];
  });
}

function jsonOf(request: ApiRequest, name: string): unknown {
  const text = request.text(name);
  if (text === undefined || text === "") return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    throw new EngineError("invalidArgument", `${name} "${text.slice(0, 200)}" is no JSON`);
  }
}

function map(request: ApiRequest, name: string): Record<string, unknown> {
  const text = request.text(name);
  if (text === undefined || text === "null") return {};
  const refuse = (): never => {
    throw new EngineError("invalidArgument", `${name} "${text.slice(0, 200)}" is not a JSON map of texts`);
  };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return refuse();
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return refuse();
  if (Object.values(value).some((one) => one !== null && typeof one !== "string")) return refuse();
  return value as Record<string, unknown>;
}
