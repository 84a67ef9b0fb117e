import { EngineError } from "../../common/index.ts";
import type { Engine } from "../../engine/index.ts";
import type { BuildkitServices } from "../buildkit/index.ts";
import { empty, type ApiReply } from "../reply.ts";
import type { ApiRequest } from "../request.ts";
import type { Routes } from "../router.ts";

export type LoadBuildkit = () => Promise<BuildkitServices>;

/** Loads BuildKit's services when the first client asks for them; one for a server. */
export function lazyBuildkit(engine: Engine): LoadBuildkit {
  let loading: Promise<BuildkitServices> | undefined;
  return () => {
    loading ??= import("../buildkit/index.ts").then(
      ({ BuildkitServices }) => new BuildkitServices(engine, engine.folders),
    );
    return loading;
  };
}

/** BuildKit's services on connections that clients take over (`Upgrade: h2c`). */
export function buildkitRoutes(load: LoadBuildkit): Routes {
  return {
    "POST /grpc": async (request) => {
      requireUpgrade(request);
      const services = await load();
      return takeover((connection) => services.serve(connection));
    },
    "POST /session": async (request) => {
      requireUpgrade(request);
      const services = await load();
      const introduction = {
        id: request.header("x-docker-expose-session-uuid") ?? "",
        sharedKey: request.header("x-docker-expose-session-sharedkey") ?? "",
        // A header that repeats comes as one, joined.
        methods: (request.header("x-docker-expose-session-grpc-method") ?? "").split(/,\s*/),
      };
      services.check(introduction);
      return takeover((connection) => services.attach(introduction, connection));
    },
    "POST /build/cancel": async (request) => {
      const id = request.text("id");
      if (id === undefined) throw new EngineError("invalidArgument", "build ID not provided");
      (await load()).builds.cancel(id);
      return empty(200);
    },
  };
}

function requireUpgrade(request: ApiRequest): void {
  const wanted = request.header("upgrade");
  if (wanted === undefined) throw new EngineError("invalidArgument", "no upgrade proto in request");
  if (wanted !== "h2c") throw new EngineError("invalidArgument", `protocol ${wanted} not supported`);
}

function takeover(serve: Extract<ApiReply, { kind: "takeover" }>["serve"]): ApiReply {
  return { kind: "takeover", upgrade: "h2c", serve };
}
