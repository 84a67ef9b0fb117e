import { readdirSync, readFileSync } from "node:fs";
import { cpus, hostname, release, totalmem } from "node:os";
import type { EventMessage } from "../spec/index.ts";
import { mountPoints, statusOf, summaryView } from "./container-views.ts";
import type { Filters, SystemService } from "./contract.ts";
import type { Core } from "./core.ts";

export const engineVersion = "0.1.0";

const machineNames: Readonly<Record<string, string>> = { x64: "x86_64", arm64: "aarch64" };
const goArchitectures: Readonly<Record<string, string>> = { x64: "amd64", arm64: "arm64" };

/** `info`, `version`, `system df` and `events`. */
export class EngineSystem implements SystemService {
  constructor(private readonly core: Core) {}

  async info(): Promise<Record<string, unknown>> {
    const { core } = this;
    const states = core.store.all().map(statusOf);
    const count = (...wanted: string[]): number => states.filter((state) => wanted.includes(state)).length;
    const { version } = core.cgroups.support;
    const controllers = core.cgroups.support.controllers;
    return {
      ID: core.options.instance,
      Containers: states.length,
      ContainersRunning: count("running"),
      ContainersPaused: count("paused"),
      ContainersStopped: states.length - count("running", "paused"),
      Images: core.images
        .list()
        .filter((image) => image.repoTags.length > 0 || core.images.children(image.id).length === 0).length,
      Driver: core.snapshots.name,
      DriverStatus: core.snapshots.status(),
      SystemStatus: null,
      Plugins: {
        Volume: ["local"],
        Network: ["bridge", "host", "null"],
        Authorization: null,
        Log: ["json-file", "local", "none"],
      },
      MemoryLimit: controllers.includes("memory"),
      SwapLimit: core.cgroups.support.swapAccounting,
      CpuCfsPeriod: controllers.includes("cpu"),
      CpuCfsQuota: controllers.includes("cpu"),
      CPUShares: controllers.includes("cpu"),
      CPUSet: controllers.includes("cpuset"),
      PidsLimit: controllers.includes("pids"),
      OomKillDisable: version !== "v2",
      IPv4Forwarding: readText("/proc/sys/net/ipv4/ip_forward") === "1",
      BridgeNfIptables: readText("/proc/sys/net/bridge/bridge-nf-call-iptables") === "1",
      BridgeNfIp6tables: readText("/proc/sys/net/bridge/bridge-nf-call-ip6tables") === "1",
      Debug: core.options.debug,
      NFd: countDescriptors(),
      NGoroutines: 0,
      SystemTime: new Date().toISOString(),
      LoggingDriver: "json-file",
      CgroupDriver: "cgroupfs",
      CgroupVersion: version === "v2" ? "2" : "1",
      NEventsListener: 0,
      KernelVersion: release(),
      OperatingSystem: operatingSystem(),
      OSVersion: osRelease("VERSION_ID"),
      OSType: "linux",
      Architecture: machineNames[process.arch] ?? process.arch,
      IndexServerAddress: "",
      RegistryConfig: { InsecureRegistryCIDRs: ["127.0.0.0/8"], IndexConfigs: {}, Mirrors: [] },
      NCPU: cpus().length,
      MemTotal: totalmem(),
      GenericResources: null,
      DockerRootDir: core.paths.root,
      HttpProxy: "",
      HttpsProxy: "",
      NoProxy: "",
      Name: hostname(),
      Labels: core.options.labels,
      ExperimentalBuild: false,
      ServerVersion: engineVersion,
      Runtimes: { vitrine: { path: core.options.helperPath }, runc: { path: core.options.helperPath } },
      DefaultRuntime: "vitrine",
      Swarm: {
        NodeID: "",
        NodeAddr: "",
        LocalNodeState: "inactive",
        ControlAvailable: false,
        Error: "",
        RemoteManagers: null,
      },
      LiveRestoreEnabled: true,
      Isolation: "",
      InitBinary: "vitrine-helper",
      ContainerdCommit: { ID: engineVersion, Expected: engineVersion },
      RuncCommit: { ID: engineVersion, Expected: engineVersion },
      InitCommit: { ID: engineVersion, Expected: engineVersion },
      SecurityOptions: ["name=seccomp,profile=builtin", ...(version === "v2" ? ["name=cgroupns"] : [])],
      Warnings: await this.#warnings(),
    };
  }

  async #warnings(): Promise<string[] | null> {
    const { controllers, swapAccounting } = this.core.cgroups.support;
    const warnings = ["memory", "cpu", "cpuset", "pids"]
      .filter((name) => !controllers.includes(name))
      .map((name) => `WARNING: No ${name} limit support`);
    if (!swapAccounting) warnings.push("WARNING: No swap limit support");
    // Rules that we put into another's firewall are shown wherever people look for warnings of their engine.
    for (const [name, value] of this.core.networks.status()) warnings.push(`Network ${name}: ${value}`);
    return warnings.length > 0 ? warnings : null;
  }

  async version(): Promise<Record<string, unknown>> {
    const architecture = goArchitectures[process.arch] ?? process.arch;
    const common = { Version: engineVersion, Os: "linux", Arch: architecture, KernelVersion: release() };
    return {
      Platform: { Name: "Vitrine" },
      ...common,
      GitCommit: "",
      GoVersion: `bun${Bun.version}`,
      BuildTime: "",
      Components: [
        {
          Name: "Engine",
          Version: engineVersion,
          Details: { Os: "linux", Arch: architecture, KernelVersion: release(), Runtime: `Bun ${Bun.version}` },
        },
        { Name: "vitrine-helper", Version: engineVersion, Details: {} },
      ],
    };
  }

  async diskUsage(): Promise<Record<string, unknown>> {
    const { core } = this;
    const images = await core.images.summaries({ all: false, filters: new Map(), digests: false, sharedSize: true });
    const containers = await Promise.all(
      core.store.all().map(async (record) => ({
        ...summaryView(record, record.config.Image ?? record.imageId),
        Mounts: mountPoints(record),
        SizeRw: await core.snapshots.usage(record.id),
      })),
    );
    const volumes = await Promise.all(
      (await core.volumes.list(new Map())).map(async (volume) => ({
        ...volume,
        UsageData: await core.volumes.usage(volume.Name),
      })),
    );
    const layersSize = core.snapshots.layers().reduce((total, layer) => total + layer.sizeBytes, 0);
    return { LayersSize: layersSize, Images: images, Containers: containers, Volumes: volumes, BuildCache: [] };
  }

  events(
    options: { since?: number; until?: number; filters: Filters },
    signal?: AbortSignal,
  ): AsyncIterable<EventMessage> {
    return this.core.events.stream(options, signal);
  }
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return undefined;
  }
}

function osRelease(key: string): string {
  const line = readText("/etc/os-release")
    ?.split("\n")
    .find((one) => one.startsWith(`${key}=`));
  return line?.slice(key.length + 1).replace(/^"|"$/g, "") ?? "";
}

function operatingSystem(): string {
  return osRelease("PRETTY_NAME") || "Linux";
}

function countDescriptors(): number {
  return readdirSync("/proc/self/fd").length;
}
