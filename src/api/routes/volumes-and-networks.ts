import type { Engine } from "../../engine/index.ts";
import { empty, json } from "../reply.ts";
import type { Routes } from "../router.ts";
import { volumeCreate } from "../schemas.ts";

export function volumeAndNetworkRoutes({ volumes, networks }: Engine): Routes {
  return {
    "GET /volumes": async (request) => json({ Volumes: await volumes.list(request.filters()), Warnings: null }),
    "POST /volumes/create": async (request) => {
      const body = await request.json(volumeCreate);
      return json(
        await volumes.create({
          ...(body.Name === undefined ? {} : { Name: body.Name }),
          ...(body.Driver === undefined ? {} : { Driver: body.Driver }),
          DriverOpts: body.DriverOpts ?? null,
          Labels: body.Labels ?? null,
        }),
        201,
      );
    },
    "GET /volumes/:name": async (request) => json(await volumes.inspect(request.parameter("name"))),
    "DELETE /volumes/:name": async (request) => {
      await volumes.remove(request.parameter("name"), { force: request.flag("force") });
      return empty(204);
    },
    "POST /volumes/prune": async (request) => {
      const { deleted, spaceReclaimed } = await volumes.prune(request.filters());
      return json({ VolumesDeleted: deleted, SpaceReclaimed: spaceReclaimed });
    },
    "GET /networks": async (request) => json(await networks.list(request.filters())),
    "POST /networks/prune": async (request) => {
      const deleted = await networks.prune(request.filters());
      return json({ NetworksDeleted: deleted.length > 0 ? deleted : null });
    },
    "GET /networks/:id": async (request) => json(await networks.inspect(request.parameter("id"))),
  };
}
