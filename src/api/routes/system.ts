import type { Engine } from "../../engine/index.ts";
import { empty, json, eagerJsonLines } from "../reply.ts";
import type { Routes } from "../router.ts";
import { apiVersion, minimumApiVersion } from "../versions.ts";

const pingHeaders = {
  "Api-Version": apiVersion,
  "Builder-Version": "2",
  "Docker-Experimental": "false",
  Swarm: "inactive",
  "Cache-Control": "no-cache, no-store, must-revalidate",
  Pragma: "no-cache",
};

export function systemRoutes(engine: Engine): Routes {
  return {
    "GET /_ping": async () => ({ kind: "text", status: 200, body: "OK", headers: pingHeaders }),
    "HEAD /_ping": async () => ({ ...empty(200), headers: pingHeaders }),
    "GET /info": async () => json(await engine.system.info()),
    "GET /version": async () =>
      json({ ...(await engine.system.version()), ApiVersion: apiVersion, MinAPIVersion: minimumApiVersion }),
    "GET /system/df": async () => json(await engine.system.diskUsage()),
    "POST /vitrine/system/check": async (request) =>
      json(await engine.system.check({ repair: request.flag("repair") })),
    "GET /events": async (request) => {
      const since = request.time("since");
      const until = request.time("until");
      const window = {
        filters: request.filters(),
        ...(since === undefined ? {} : { since }),
        ...(until === undefined ? {} : { until }),
      };
      return eagerJsonLines(engine.system.events(window, request.signal));
    },
  };
}
