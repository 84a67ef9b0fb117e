import { EngineError } from "../../common/index.ts";
import type { Engine } from "../../engine/index.ts";
import { json, jsonLines } from "../reply.ts";
import type { ApiRequest } from "../request.ts";
import type { Routes } from "../router.ts";
import { withErrors } from "./images.ts";

/** Parameters of `POST /build` whose work is not built. A default value passes; anything else is refused by name. */
const unbuilt: readonly (readonly [name: string, harmless: readonly string[]])[] = [
  ["remote", [""]],
  ["pull", ["", "0", "false"]],
  ["cachefrom", ["", "[]", "null"]],
  ["memory", ["", "0"]],
  ["memswap", ["", "0"]],
  ["cpushares", ["", "0"]],
  ["cpuperiod", ["", "0"]],
  ["cpuquota", ["", "0"]],
  ["cpusetcpus", [""]],
  ["cpusetmems", [""]],
  ["cgroupparent", [""]],
  ["shmsize", ["", "0"]],
  ["ulimits", ["", "null", "[]"]],
  ["extrahosts", ["", "[]", "null"]],
  ["squash", ["", "0", "false"]],
  ["platform", ["", "linux/amd64"]],
  ["outputs", ["", "[]", "null"]],
  ["securityopt", ["", "null", "[]"]],
  ["isolation", ["", "default"]],
];

export function buildRoutes(engine: Engine): Routes {
  return {
    "POST /build": async (request) => {
      refuseUnbuilt(request);
      const target = request.text("target");
      const networkMode = request.text("networkmode");
      return jsonLines(
        withErrors(
          engine.build({
            context: request.body,
            dockerfile: request.text("dockerfile") ?? "Dockerfile",
            tags: request.query.getAll("t").filter((tag) => tag !== ""),
            arguments: map(request, "buildargs") as Record<string, string | null>,
            labels: map(request, "labels") as Record<string, string>,
            noCache: request.flag("nocache"),
            quiet: request.flag("q"),
            removeIntermediate: request.flag("rm", true),
            forceRemove: request.flag("forcerm"),
            signal: request.signal,
            ...(target === undefined ? {} : { target }),
            ...(networkMode === undefined ? {} : { networkMode }),
          }),
        ),
      );
    },
    "POST /build/prune": async (request) => {
      const { deleted, spaceReclaimed } = await engine.pruneBuildCache(request.filters());
      return json({ CachesDeleted: deleted, SpaceReclaimed: spaceReclaimed });
    },
  };
}

function refuseUnbuilt(request: ApiRequest): void {
  if (request.text("version") === "2") {
    throw new EngineError(
      "unsupported",
      "BuildKit builds are not built yet: set DOCKER_BUILDKIT=0 for the classic builder",
    );
  }
  for (const [name, harmless] of unbuilt) {
    const value = request.query.get(name);
    if (value !== null && !harmless.includes(value)) {
      throw new EngineError("unsupported", `The build option ${name}="${value}" is not built yet; leave it out`);
    }
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
