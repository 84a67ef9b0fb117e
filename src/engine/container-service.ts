import { EngineError } from "../common/index.ts";
import type { ContainerCreateRequest, ContainerInspect, ContainerSummary, Plan, TracedOp } from "../spec/index.ts";
import { checkContainerFilters, matchesFilters } from "./container-filters.ts";
import { exportContainer, readContainerArchive, statContainerPath, writeContainerArchive } from "./container-files.ts";
import { checkName, createContainer } from "./container-creation.ts";
import { explainContainer, explainRequest } from "./container-explain.ts";
import { attachContainer, containerLogs } from "./container-io.ts";
import { removeContainer } from "./container-removal.ts";
import { logPath } from "./container-spec.ts";
import { startContainer } from "./container-start.ts";
import { endContainer, killContainer, pause, stopContainer, unpause } from "./container-stop.ts";
import { updateContainer } from "./container-update.ts";
import { inspectView, statusOf, summaryView } from "./container-views.ts";
import type {
  AttachOptions,
  ContainerService,
  ContainerUpdate,
  Filters,
  ListContainersOptions,
  LogOptions,
  OutputChunk,
  PathStat,
  StdioSession,
  WaitCondition,
} from "./contract.ts";
import { cgroupPathOf, publishContainerEvent, type Core } from "./core.ts";
import { monitorOf } from "./foreign-monitor.ts";
import { requireKnownFilters } from "./known-filters.ts";
import type { ExitResult, LiveContainer } from "./live-container.ts";
import { processTable } from "./process-table.ts";
import { publishPrune } from "./prune-event.ts";
import { shownImageName } from "./shown-image-name.ts";
import { statsStream } from "./stats-stream.ts";

/** The containers of one engine: finds the one that is meant, takes its turn, and hands over to the file that knows how. */
export class Containers implements ContainerService {
  constructor(private readonly core: Core) {}

  async create(
    name: string | undefined,
    request: ContainerCreateRequest,
    options: { platform?: string } = {},
  ): Promise<{ id: string; warnings: string[] }> {
    const container = await createContainer(this.core, request, { name, platform: options.platform });
    return { id: container.record.id, warnings: [] };
  }

  async start(idOrName: string, options: { consoleSize?: readonly [number, number] } = {}): Promise<void> {
    const container = this.core.containers.get(idOrName);
    await container.changes.run(async () => {
      const status = statusOf(container.record);
      if (status === "running") throw new EngineError("notModified", `Container ${container.record.name} is running`);
      if (status === "paused")
        throw new EngineError("conflict", "cannot start a paused container, try unpause instead");
      if (status === "removing" || status === "dead")
        throw new EngineError("conflict", "container is marked for removal and cannot be started");
      const size = options.consoleSize ?? container.record.host.ConsoleSize;
      try {
        await startContainer(this.core, container, size && size[0] > 0 ? { consoleSize: size } : {});
      } catch (error) {
        // Clients of `run --rm` wait for the removal, whatever became of the start.
        if (container.record.host.AutoRemove)
          await removeContainer(this.core, container, { force: false, volumes: true });
        throw error;
      }
    });
  }

  async stop(idOrName: string, options: { signal?: string; timeoutSeconds?: number }): Promise<void> {
    await stopContainer(this.core, this.core.containers.get(idOrName), options);
  }

  async restart(idOrName: string, options: { signal?: string; timeoutSeconds?: number }): Promise<void> {
    const container = this.core.containers.get(idOrName);
    await container.changes.run(async () => {
      const { state } = container.record;
      if (state.phase === "running" || state.restarting) await stopContainer(this.core, container, options);
      await startContainer(this.core, container);
    });
    publishContainerEvent(this.core, container.record, { action: "restart" });
  }

  async kill(idOrName: string, signal: string): Promise<void> {
    await killContainer(this.core, this.core.containers.get(idOrName), signal);
  }

  async pause(idOrName: string): Promise<void> {
    const container = this.core.containers.get(idOrName);
    await container.changes.run(() => pause(this.core, container));
  }

  async unpause(idOrName: string): Promise<void> {
    const container = this.core.containers.get(idOrName);
    await container.changes.run(() => unpause(this.core, container));
  }

  async rename(idOrName: string, wanted: string): Promise<void> {
    const { record } = this.core.containers.get(idOrName);
    const name = wanted.replace(/^\//, "");
    if (name === "") throw new EngineError("invalidArgument", "Neither old nor new names may be empty");
    if (name === record.name)
      throw new EngineError("invalidArgument", "Renaming a container with the same name as its current name");
    checkName(this.core, name);
    const oldName = record.name;
    record.name = name;
    this.core.store.save(record);
    publishContainerEvent(this.core, record, { action: "rename", attributes: { oldName: `/${oldName}` } });
  }

  async update(idOrName: string, update: ContainerUpdate): Promise<{ warnings: string[] }> {
    const container = this.core.containers.get(idOrName);
    return container.changes.run(async () => updateContainer(this.core, container, update));
  }

  async wait(idOrName: string, condition: WaitCondition): Promise<{ result: Promise<ExitResult> }> {
    const container = this.core.containers.get(idOrName);
    const { state } = container.record;
    switch (condition) {
      case "next-exit":
        return { result: container.nextExit() };
      case "removed":
        return { result: container.removal() };
      case "not-running": {
        const down = state.phase !== "running" && state.phase !== "starting" && !state.restarting;
        return { result: down ? Promise.resolve({ exitCode: state.exitCode }) : container.nextStop() };
      }
    }
  }

  async remove(idOrName: string, options: { force: boolean; volumes: boolean }): Promise<void> {
    const container = this.core.containers.get(idOrName);
    await container.changes.run(async () => {
      if (options.force && this.core.containers.has(container)) await endContainer(this.core, container);
      await removeContainer(this.core, container, options);
    });
  }

  async prune(filters: Filters): Promise<{ deleted: string[]; spaceReclaimed: number }> {
    const deleted: string[] = [];
    let spaceReclaimed = 0;
    const wanted = new Map([...filters].filter(([name]) => name !== "until"));
    requireKnownFilters(wanted, ["label"]);
    const until = filters.get("until")?.[0];
    for (const container of this.core.containers.all()) {
      const { record } = container;
      if (!["created", "exited", "dead"].includes(statusOf(record)) || !this.#matches(container, wanted)) continue;
      if (until !== undefined && Date.parse(record.createdAt) > untilTime(until)) continue;
      spaceReclaimed += await this.core.snapshots.usage(record.id);
      await this.remove(record.id, { force: false, volumes: false });
      deleted.push(record.id);
    }
    publishPrune(this.core, "container", spaceReclaimed);
    return { deleted, spaceReclaimed };
  }

  async list(options: ListContainersOptions): Promise<ContainerSummary[]> {
    checkContainerFilters(options.filters);
    const newestFirst = this.core.containers
      .all()
      .sort((left, right) => Date.parse(right.record.createdAt) - Date.parse(left.record.createdAt));
    const showsStopped =
      options.all || options.limit !== undefined || options.filters.has("status") || options.filters.has("exited");
    const chosen = newestFirst
      .filter((container) => showsStopped || container.record.state.phase === "running")
      .filter((container) => this.#matches(container, options.filters))
      .slice(0, options.limit);
    return Promise.all(
      chosen.map(async ({ record }) => ({
        ...summaryView(record, shownImageName(this.core, record)),
        ...(options.size ? await this.#sizes(record) : {}),
      })),
    );
  }

  #matches(container: LiveContainer, filters: Filters): boolean {
    return matchesFilters(container.record, filters, {
      isFromImage: (record, image) => this.#descends(record.imageId, image),
      lookup: (idOrName) => this.core.store.get(idOrName),
    });
  }

  #descends(imageId: string, ancestor: string): boolean {
    const wanted = this.core.images.find(ancestor)?.id;
    if (wanted === undefined) return false;
    for (let id = imageId; id !== ""; id = this.core.images.find(id)?.parent ?? "") if (id === wanted) return true;
    return false;
  }

  async #sizes(record: { id: string; imageId: string }): Promise<{ SizeRw: number; SizeRootFs: number }> {
    const readWrite = await this.core.snapshots.usage(record.id);
    return { SizeRw: readWrite, SizeRootFs: readWrite + (this.core.images.find(record.imageId)?.sizeBytes ?? 0) };
  }

  async inspect(idOrName: string, options: { size?: boolean } = {}): Promise<ContainerInspect> {
    const { record, execIds } = this.core.containers.get(idOrName);
    const view = inspectView(record, {
      paths: this.core.paths,
      driver: this.core.snapshots.graphDriver(record.id),
      execIds: [...execIds],
      logPath: logPath(this.core, record) ?? "",
    });
    return options.size ? { ...view, ...(await this.#sizes(record)) } : view;
  }

  attach(idOrName: string, options: AttachOptions): Promise<StdioSession> {
    return attachContainer(this.core, this.core.containers.get(idOrName), options);
  }

  async resize(idOrName: string, size: { rows: number; columns: number }): Promise<void> {
    await monitorOf(this.core.containers.get(idOrName)).resize(size);
  }

  async logs(
    idOrName: string,
    options: LogOptions,
    signal?: AbortSignal,
  ): Promise<{ tty: boolean; records: AsyncIterable<OutputChunk> }> {
    return containerLogs(this.core, this.core.containers.get(idOrName), { ...options, ...(signal ? { signal } : {}) });
  }

  async top(idOrName: string, psArguments: readonly string[]): Promise<{ Titles: string[]; Processes: string[][] }> {
    const { record } = this.core.containers.get(idOrName);
    if (record.state.phase !== "running") throw new EngineError("conflict", `Container ${record.id} is not running`);
    return processTable(psArguments, this.core.cgroups.processes(cgroupPathOf(this.core, record)));
  }

  stats(
    idOrName: string,
    options: { stream: boolean; oneShot: boolean },
    signal?: AbortSignal,
  ): AsyncIterable<unknown> {
    return statsStream(this.core, this.core.containers.get(idOrName), options, signal);
  }

  async changes(idOrName: string): Promise<{ Path: string; Kind: 0 | 1 | 2 }[]> {
    return this.core.snapshots.changes(this.core.containers.get(idOrName).record.id);
  }

  async export(idOrName: string): Promise<AsyncIterable<Uint8Array>> {
    return exportContainer(this.core, this.core.containers.get(idOrName));
  }

  statPath(idOrName: string, path: string): Promise<PathStat> {
    return statContainerPath(this.core, this.core.containers.get(idOrName), path);
  }

  readArchive(idOrName: string, path: string): Promise<{ stat: PathStat; tar: AsyncIterable<Uint8Array> }> {
    return readContainerArchive(this.core, this.core.containers.get(idOrName), path);
  }

  async writeArchive(
    idOrName: string,
    path: string,
    tar: AsyncIterable<Uint8Array>,
    options: { noOverwriteDirNonDir: boolean; copyUidGid: boolean },
  ): Promise<void> {
    await writeContainerArchive(this.core, this.core.containers.get(idOrName), { path, tar, ...options });
  }

  explain(request: ContainerCreateRequest): Promise<{ plan: Plan; ops: readonly TracedOp[] }> {
    return explainRequest(this.core, request);
  }

  plan(idOrName: string): Promise<{ plan: Plan; ops: readonly TracedOp[] }> {
    return explainContainer(this.core, this.core.containers.get(idOrName));
  }
}

/** `until`: a time, Unix seconds, or a duration back from now (`24h`). Milliseconds since 1970. */
export function untilTime(text: string): number {
  const duration = /^(\d+(?:\.\d+)?)([smhd])$/.exec(text);
  if (duration)
    return Date.now() - Number(duration[1]) * ({ s: 1, m: 60, h: 3600, d: 86_400 }[duration[2] ?? "s"] ?? 1) * 1000;
  const time = /^\d+(\.\d+)?$/.test(text) ? Number(text) * 1000 : Date.parse(text);
  if (Number.isNaN(time)) throw new EngineError("invalidArgument", `invalid filter 'until=${text}'`);
  return time;
}
