import type { Duplex } from "node:stream";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Engine } from "../../engine/index.ts";
import { BuildHistory } from "./build-history.ts";
import { BuildJobs } from "./build-job.ts";
import { HistoryStore } from "./history-store.ts";
import { cacheService } from "./cache-service.ts";
import { controlService } from "./control-service.ts";
import { gatewayService } from "./gateway-service.ts";
import { serveGrpc, unary, type GrpcMethods } from "./grpc-server.ts";
import { healthMethods, healthServing } from "./session-messages.ts";
import { SessionBuilds } from "./session-build.ts";
import { SessionRegistry, type SessionIntroduction } from "./session-registry.ts";
import { SyncedFolders } from "./synced-folders.ts";

export type { SessionBuild } from "./session-build.ts";

/** BuildKit's services beside the API, on connections that left HTTP/1. One for a server; it costs nothing until it is asked. */
export class BuildkitServices {
  readonly #sessions = new SessionRegistry();
  readonly #methods: GrpcMethods;
  /** `POST /build` with a session. */
  readonly builds: SessionBuilds;

  constructor(engine: Engine, folders: { readonly root: string; readonly run: string }) {
    const contexts = join(folders.root, "build-contexts");
    mkdirSync(contexts, { recursive: true, mode: 0o700 });
    const contextFolders = new SyncedFolders(contexts);
    const history = new BuildHistory(new HistoryStore(join(folders.root, "build-history")));
    const services = {
      engine,
      jobs: new BuildJobs(),
      history,
      sessions: this.#sessions,
      session: { folders: contextFolders, runFolder: folders.run },
    };
    this.builds = new SessionBuilds(services);
    this.#methods = {
      ...controlService(services),
      ...gatewayService(services),
      ...cacheService(engine, () => contextFolders.prune()),
      ...history.methods,
      [healthMethods.check.path]: unary(healthMethods.check, () => ({ status: healthServing })),
    };
  }

  /** `POST /grpc`: the client calls, until its connection closes. */
  serve(connection: Duplex): Promise<void> {
    return serveGrpc(connection, this.#methods);
  }

  /** Throws before the connection of a session is taken over. */
  check(introduction: SessionIntroduction): void {
    this.#sessions.check(introduction);
  }

  /** `POST /session`: we call, until the connection closes. */
  attach(introduction: SessionIntroduction, connection: Duplex): Promise<void> {
    return this.#sessions.attach(introduction, connection);
  }
}
