import { mkdirSync } from "node:fs";
import { toEngineError } from "../common/index.ts";
import { ContentStore } from "../content/index.ts";
import { ImageStore } from "../image/index.ts";
import { openCgroups } from "../kernel/index.ts";
import { NetworkService } from "../network/index.ts";
import { openSnapshotter } from "../snapshot/index.ts";
import { checkBuild } from "../build/index.ts";
import { EngineBuilds } from "./build-service.ts";
import { forgetFailedSteps } from "./failed-step.ts";
import { commitContainer, thawInterruptedCommits } from "./container-commit.ts";
import { usersOfVolume } from "./container-removal.ts";
import { Containers } from "./container-service.ts";
import { ContainerStore } from "./container-store.ts";
import type { Engine } from "./contract.ts";
import { LiveContainers, type Core, type EngineOptions } from "./core.ts";
import { openDatabase, type EngineDatabase } from "./database.ts";
import { EventBus } from "./event-bus.ts";
import { Execs } from "./exec-service.ts";
import { HealthChecks } from "./health.ts";
import { watchIdleMemory } from "./idle-memory.ts";
import { EngineImages } from "./image-service.ts";
import { EngineNetworks } from "./network-queries.ts";
import { recover, restartAfterRecovery } from "./recovery.ts";
import { EngineRegistries } from "./registry-service.ts";
import { EngineSystem } from "./system-service.ts";
import { LocalVolumes } from "./volume-service.ts";

/**
 * Composes the engine, brings memory, database and kernel into agreement, and applies restart policies.
 *
 *     await using engine = await createEngine(options);
 *     const { id } = await engine.containers.create("web", { Image: "helloworld" });
 *     await engine.containers.start(id);
 *
 * Disposal leaves containers running; their monitors look after them until the next engine.
 */
export async function createEngine(options: EngineOptions): Promise<Engine> {
  const { paths } = options;
  for (const directory of [paths.root, paths.temporary, paths.trash])
    mkdirSync(directory, { recursive: true, mode: 0o711 });
  mkdirSync(paths.run, { recursive: true, mode: 0o711 });
  const database = openDatabase(paths.database);
  const events = new EventBus();
  const store = new ContainerStore(database.runState);
  const volumes = new LocalVolumes({
    paths,
    database: database.durable,
    events,
    usersOf: (name) => usersOfVolume({ store }, name),
  });
  const content = new ContentStore({ paths, db: database.durable, runState: database.runState });
  const snapshots = openSnapshotter({
    paths,
    db: database.durable,
    runState: database.runState,
    ...(options.storageDriver ? { driver: options.storageDriver } : {}),
  });
  const images = new ImageStore({ paths, db: database.durable, content, snapshots, bunPath: options.bunPath });
  const networks = new NetworkService({
    paths,
    db: database.runState,
    instance: {
      bridgeName: options.bridgeName,
      tableName: options.instance,
      ...(options.subnet ? { subnet: options.subnet } : {}),
    },
    helperPath: options.helperPath,
  });
  const cgroups = openCgroups({ onWarning: (message) => options.log("warning", message) });
  const core: Core = {
    options,
    paths,
    store,
    events,
    volumes,
    images,
    content,
    snapshots,
    networks,
    cgroups,
    database: database.durable,
    containers: new LiveContainers(store),
  };
  const execs = new Execs(core);
  const health = new HealthChecks(core, execs);
  await recover(core);
  await thawInterruptedCommits(core);
  health.resume();
  await forgetFailedSteps(core);
  restartAfterRecovery(core);
  return compose(core, { database, execs, health });
}

function compose(core: Core, parts: { database: EngineDatabase; execs: Execs; health: Disposable }): Engine {
  const registries = new EngineRegistries(core);
  const builds = new EngineBuilds(core, registries, parts.database.runState);
  const images = new EngineImages(core);
  const idleMemory = watchIdleMemory();
  return {
    containers: new Containers(core),
    execs: parts.execs,
    images,
    registries,
    volumes: core.volumes,
    networks: new EngineNetworks(core),
    folders: { root: core.paths.root, run: core.paths.run },
    system: new EngineSystem(core, builds),
    builds,
    checkBuild: (request) => checkBuild(request, (reference) => core.images.find(reference)?.config),
    commit: (idOrName, options) => commitContainer(core, core.containers.get(idOrName), options),
    async [Symbol.asyncDispose]() {
      parts.health[Symbol.dispose]();
      idleMemory[Symbol.dispose]();
      for (const container of core.containers.all()) {
        clearTimeout(container.restartTimer);
        const { monitor } = container;
        // Forgotten before it is closed: the end of a connection would be taken for the container's.
        container.monitor = container.monitorRefusal = undefined;
        monitor?.close();
      }
      const idle = core.store.all().every((record) => record.state.phase !== "running");
      await core.networks.close({ removeAll: idle });
      if (idle) {
        await core.cgroups
          .remove(`/${core.options.instance}`)
          .catch((error: unknown) => core.options.log("warning", `Control groups: ${toEngineError(error).message}`));
      }
      parts.database[Symbol.dispose]();
    },
  };
}
