import { EngineError } from "../../common/index.ts";
import type { Engine, PathStat } from "../../engine/index.ts";
import { empty, stream } from "../reply.ts";
import type { ApiRequest } from "../request.ts";
import type { Routes } from "../router.ts";

const tarType = "application/x-tar";

/** A container's files as tar streams: `cp` and `export`. */
export function containerFileRoutes(engine: Engine): Routes {
  const { containers } = engine;
  return {
    "GET /containers/:id/export": async (request) =>
      stream("application/octet-stream", await containers.export(request.parameter("id"))),
    "HEAD /containers/:id/archive": async (request) => {
      const stat = await containers.statPath(request.parameter("id"), archivePath(request));
      return { ...empty(200), headers: statHeader(stat) };
    },
    "GET /containers/:id/archive": async (request) => {
      const { stat, tar } = await containers.readArchive(request.parameter("id"), archivePath(request));
      return { kind: "stream", contentType: tarType, body: tar, headers: statHeader(stat) };
    },
    "PUT /containers/:id/archive": async (request) => {
      await containers.writeArchive(request.parameter("id"), archivePath(request), request.body, {
        noOverwriteDirNonDir: request.flag("noOverwriteDirNonDir"),
        copyUidGid: request.flag("copyUIDGID"),
      });
      return empty(200);
    },
  };
}

function archivePath(request: ApiRequest): string {
  const path = request.text("path");
  if (path === undefined) throw new EngineError("invalidArgument", "bad parameter: path cannot be empty");
  return path;
}

function statHeader(stat: PathStat): Record<string, string> {
  return { "X-Docker-Container-Path-Stat": Buffer.from(JSON.stringify(stat)).toString("base64") };
}
