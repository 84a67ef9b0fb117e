import { EngineError } from "../../common/index.ts";
import type { Engine } from "../../engine/index.ts";
import { json } from "../reply.ts";
import type { Routes } from "../router.ts";
import { containerConfig } from "../schemas.ts";

export function commitRoutes(engine: Engine): Routes {
  return {
    "POST /commit": async (request) => {
      const container = request.text("container");
      if (container === undefined)
        throw new EngineError("invalidArgument", "bad parameter: the container to commit must be named");
      const config = await request.json(containerConfig);
      const repository = request.text("repo");
      const tag = request.text("tag");
      const id = await engine.commit(container, {
        author: request.text("author") ?? "",
        comment: request.text("comment") ?? "",
        changes: request.query.getAll("changes"),
        pause: request.text("pause") === undefined || request.flag("pause"),
        ...(repository === undefined ? {} : { reference: tag === undefined ? repository : `${repository}:${tag}` }),
        // As in Go: a body that sets nothing is no config.
        ...(config && Object.keys(config).length > 0 ? { config } : {}),
      });
      return json({ Id: id }, 201);
    },
  };
}
