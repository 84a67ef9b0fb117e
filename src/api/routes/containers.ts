import { EngineError } from "../../common/index.ts";
import type { Engine, WaitCondition } from "../../engine/index.ts";
import { empty, json, eagerJsonLines, type ApiReply } from "../reply.ts";
import type { ApiRequest } from "../request.ts";
import type { Routes } from "../router.ts";
import { containerCreate, containerUpdate } from "../schemas.ts";

export function containerRoutes(engine: Engine): Routes {
  const { containers } = engine;
  return {
    "GET /containers/json": async (request) => {
      const limit = request.integer("limit");
      return json(
        await containers.list({
          all: request.flag("all"),
          size: request.flag("size"),
          filters: request.filters(),
          ...(limit === undefined || limit <= 0 ? {} : { limit }),
        }),
      );
    },
    "POST /containers/create": async (request) => {
      const platform = request.text("platform");
      const body = await request.json(containerCreate);
      const created = await containers.create(request.text("name"), body, platform ? { platform } : {});
      return json({ Id: created.id, Warnings: created.warnings }, 201);
    },
    "GET /containers/:id/json": async (request) =>
      json(await containers.inspect(request.parameter("id"), { size: request.flag("size") })),
    "POST /containers/:id/start": async (request) => done(containers.start(request.parameter("id"))),
    "POST /containers/:id/stop": async (request) =>
      done(containers.stop(request.parameter("id"), stopOptions(request))),
    "POST /containers/:id/restart": async (request) =>
      done(containers.restart(request.parameter("id"), stopOptions(request))),
    "POST /containers/:id/kill": async (request) =>
      done(containers.kill(request.parameter("id"), request.text("signal") ?? "SIGKILL")),
    "POST /containers/:id/pause": async (request) => done(containers.pause(request.parameter("id"))),
    "POST /containers/:id/unpause": async (request) => done(containers.unpause(request.parameter("id"))),
    "POST /containers/:id/rename": async (request) =>
      done(containers.rename(request.parameter("id"), request.text("name") ?? "")),
    "POST /containers/:id/update": async (request) => {
      const { warnings } = await containers.update(request.parameter("id"), await request.json(containerUpdate));
      return json({ Warnings: warnings });
    },
    "POST /containers/:id/wait": async (request) => wait(engine, request),
    "DELETE /containers/:id": async (request) => {
      if (request.flag("link"))
        throw new EngineError("unsupported", "Links between containers are not built; there is none to remove");
      return done(
        containers.remove(request.parameter("id"), { force: request.flag("force"), volumes: request.flag("v") }),
      );
    },
    "POST /containers/prune": async (request) => {
      const { deleted, spaceReclaimed } = await containers.prune(request.filters());
      return json({ ContainersDeleted: deleted, SpaceReclaimed: spaceReclaimed });
    },
    "GET /containers/:id/top": async (request) =>
      json(
        await containers.top(request.parameter("id"), (request.text("ps_args") ?? "-ef").split(/\s+/).filter(Boolean)),
      ),
    "GET /containers/:id/stats": async (request) => {
      const options = { stream: request.flag("stream", true), oneShot: request.flag("one-shot") };
      const id = (await containers.inspect(request.parameter("id"))).Id;
      return eagerJsonLines(containers.stats(id, options, request.signal));
    },
    "GET /containers/:id/changes": async (request) => json(await containers.changes(request.parameter("id"))),
  };
}

async function done(action: Promise<void>): Promise<ApiReply> {
  await action;
  return empty(204);
}

function stopOptions(request: ApiRequest): { signal?: string; timeoutSeconds?: number } {
  const signal = request.text("signal");
  const timeoutSeconds = request.integer("t");
  return { ...(signal === undefined ? {} : { signal }), ...(timeoutSeconds === undefined ? {} : { timeoutSeconds }) };
}

/** The headers go out at once, before the wait: clients start the container only after they have seen them. */
async function wait(engine: Engine, request: ApiRequest): Promise<ApiReply> {
  const condition = request.text("condition") ?? "not-running";
  if (!["not-running", "next-exit", "removed"].includes(condition)) {
    throw new EngineError("invalidArgument", `invalid condition: "${condition}"`);
  }
  const { result } = await engine.containers.wait(request.parameter("id"), condition as WaitCondition, request.signal);
  return eagerJsonLines(
    (async function* () {
      const { exitCode, error } = await result;
      yield { StatusCode: exitCode, ...(error ? { Error: { Message: error } } : {}) };
    })(),
  );
}
