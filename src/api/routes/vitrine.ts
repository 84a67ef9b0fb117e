import type { Engine } from "../../engine/index.ts";
import { explainScript, panorama } from "../../lens/index.ts";
import { json } from "../reply.ts";
import type { Routes } from "../router.ts";
import { buildCheck, containerCreate } from "../schemas.ts";

/** What Docker has no word for: the plan behind a container, and the picture of the whole. */
export function vitrineRoutes(engine: Engine): Routes {
  return {
    "GET /vitrine/containers/:id/plan": async (request) => {
      const { plan, ops } = await engine.containers.plan(request.parameter("id"));
      return json({ ops, script: explainScript(plan) });
    },
    "GET /vitrine/containers/:id/panorama": async (request) => json(await panorama(engine, request.parameter("id"))),
    "GET /vitrine/images/{name:image}/layers": async (request) =>
      json(await engine.images.layers(request.parameter("name"))),
    "POST /vitrine/build/check": async (request) => json(engine.checkBuild(await request.json(buildCheck))),
    "POST /vitrine/explain": async (request) => {
      const { plan, ops } = await engine.containers.explain(await request.json(containerCreate));
      return json({ ops, script: explainScript(plan) });
    },
  };
}
