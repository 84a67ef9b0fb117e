import type { Database } from "bun:sqlite";
import type { Paths } from "../common/index.ts";
import type { ContentStore } from "../content/index.ts";
import type { ImageStore } from "../image/index.ts";
import type { Cgroups } from "../kernel/index.ts";
import type { NetworkService } from "../network/index.ts";
import type { RegistrySettings } from "../registry/index.ts";
import type { Snapshotter, StorageDriver } from "../snapshot/index.ts";
import { EngineError } from "../common/index.ts";
import type { ContainerRecord } from "./container-record.ts";
import type { ContainerStore } from "./container-store.ts";
import { eventAttributes } from "./container-views.ts";
import type { EventBus } from "./event-bus.ts";
import { LiveContainer } from "./live-container.ts";
import type { LocalVolumes } from "./volume-service.ts";

/** What a daemon is told at its start; decided by main.ts, never changed afterwards. */
export interface EngineOptions {
  readonly paths: Paths;
  /** Names this engine's cgroup root, bridge and tables, so that engines run beside each other. */
  readonly instance: string;
  readonly helperPath: string;
  /** A Bun executable, for the image vitrine/bun. */
  readonly bunPath: string;
  readonly bridgeName: string;
  readonly subnet?: string;
  /** Absent: the one that the root has layers of, else the first that its file system can hold. */
  readonly storageDriver?: StorageDriver;
  /** Absent: Docker's defaults. */
  readonly registries?: RegistrySettings;
  /** What the cache of builds may hold after one; absent: 20 GiB. */
  readonly buildCacheBytes?: number;
  readonly labels: readonly string[];
  readonly debug: boolean;
  readonly noPivot: boolean;
  readonly log: (level: "debug" | "info" | "warning" | "error", message: string) => void;
}

/** The parts that the engine's own files share. Built once by createEngine. */
export interface Core {
  readonly options: EngineOptions;
  readonly paths: Paths;
  readonly store: ContainerStore;
  readonly events: EventBus;
  readonly volumes: LocalVolumes;
  readonly images: ImageStore;
  readonly content: ContentStore;
  readonly snapshots: Snapshotter;
  readonly networks: NetworkService;
  readonly cgroups: Cgroups;
  readonly containers: LiveContainers;
  /** For rooms that keep tables of their own. */
  readonly database: Database;
}

/** The containers by id, each with its live part. */
export class LiveContainers {
  readonly #byId = new Map<string, LiveContainer>();

  constructor(private readonly store: ContainerStore) {
    for (const record of store.all()) this.#byId.set(record.id, new LiveContainer(record));
  }

  all(): LiveContainer[] {
    return [...this.#byId.values()];
  }

  add(record: ContainerRecord): LiveContainer {
    const container = new LiveContainer(record);
    this.#byId.set(record.id, container);
    return container;
  }

  delete(id: string): void {
    this.#byId.delete(id);
  }

  /** False once it was removed: whoever waited for its turn must look again. */
  has({ record }: LiveContainer): boolean {
    return this.#byId.has(record.id);
  }

  /** By name, id or unique prefix. Throws notFound in Docker's words. */
  get(idOrName: string): LiveContainer {
    const { id } = this.store.get(idOrName);
    const container = this.#byId.get(id);
    if (!container) throw new EngineError("notFound", `No such container: ${idOrName}`);
    return container;
  }
}

export function publishContainerEvent(
  core: Core,
  record: ContainerRecord,
  event: { action: string; attributes?: Record<string, string> },
): void {
  core.events.publish("container", event.action, {
    id: record.id,
    attributes: eventAttributes(record, event.attributes),
  });
}

/** Absolute path of the container's control group, below every hierarchy. */
export function cgroupPathOf(core: Core, record: ContainerRecord): string {
  const parent = record.host.CgroupParent;
  if (!parent) return `/${core.options.instance}/${record.id}`;
  return `/${parent.replace(/^\/+|\/+$/g, "")}/${record.id}`;
}

export function monitorCgroupPath(core: Core): string {
  return `/${core.options.instance}/monitors`;
}
