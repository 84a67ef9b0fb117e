import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, hostname, release, totalmem } from "node:os";
import { join } from "node:path";
import { vitrineVersion } from "../common/index.ts";
import { defaultRegistrySettings, type RegistrySettings } from "../registry/index.ts";
import type { CheckReport, EventMessage } from "../spec/index.ts";
import { mountPoints, statusOf, summaryView } from "./container-views.ts";
import type { BuildService, Filters, SystemService } from "./contract.ts";
import type { Core } from "./core.ts";
import { imageUsers } from "./image-users.ts";
import { shownImageName } from "./shown-image-name.ts";
import { checkStore } from "./store-check.ts";

const machineNames: Readonly<Record<string, string>> = { x64: "x86_64", arm64: "aarch64" };
const goArchitectures: Readonly<Record<string, string>> = { x64: "amd64", arm64: "arm64" };

/** `info`, `version`, `system df` and `events`. */
export class EngineSystem implements SystemService {
  constructor(
    private readonly core: Core,
    private readonly builds: Pick<BuildService, "usage">,
  ) {}

  check(options: { repair: boolean }): Promise<CheckReport> {
    return checkStore(this.core, options);
  }

  async info(): Promise<Record<string, unknown>> {
    return {
      ...this.#counts(),
      ...this.#limits(),
      ...machineFacts(),
      ...this.#engineFacts(),
      Warnings: await this.#warnings(),
    };
  }

  #counts(): Record<string, unknown> {
    const { store, images } = this.core;
    const states = store.all().map(statusOf);
    const count = (...wanted: string[]): number => states.filter((state) => wanted.includes(state)).length;
    return {
      Containers: states.length,
      ContainersRunning: count("running"),
      ContainersPaused: count("paused"),
      ContainersStopped: states.length - count("running", "paused"),
      Images: images.list().filter((image) => image.repoTags.length > 0 || images.children(image.id).length === 0)
        .length,
    };
  }

  /** What the kernel's control groups can limit. */
  #limits(): Record<string, unknown> {
    const { version, controllers, swapAccounting } = this.core.cgroups.support;
    const can = (name: string): boolean => controllers.includes(name);
    return {
      MemoryLimit: can("memory"),
      SwapLimit: swapAccounting,
      CpuCfsPeriod: can("cpu"),
      CpuCfsQuota: can("cpu"),
      CPUShares: can("cpu"),
      CPUSet: can("cpuset"),
      PidsLimit: can("pids"),
      OomKillDisable: version !== "v2",
      CgroupDriver: "cgroupfs",
      CgroupVersion: version === "v2" ? "2" : "1",
      SecurityOptions: ["name=seccomp,profile=builtin", ...(version === "v2" ? ["name=cgroupns"] : [])],
    };
  }

  #engineFacts(): Record<string, unknown> {
    const { core } = this;
    const ours = { ID: vitrineVersion, Expected: vitrineVersion };
    const runtime = { path: core.options.helperPath };
    return {
      ID: engineId(join(core.paths.root, "engine-id")),
      Driver: core.snapshots.name,
      DriverStatus: core.snapshots.status(),
      Plugins: {
        Volume: ["local"],
        Network: ["bridge", "host", "null"],
        Authorization: null,
        Log: ["json-file", "local", "none"],
      },
      Debug: core.options.debug,
      NFd: readdirSync("/proc/self/fd").length,
      // Docker counts goroutines here: what stands for them is threads.
      NGoroutines: readdirSync("/proc/self/task").length,
      NEventsListener: core.events.listenerCount,
      LoggingDriver: "json-file",
      IndexServerAddress: "https://index.docker.io/v1/",
      RegistryConfig: registryConfig(core.options.registries ?? defaultRegistrySettings),
      DockerRootDir: core.paths.root,
      Labels: core.options.labels,
      ExperimentalBuild: false,
      ServerVersion: vitrineVersion,
      Runtimes: { vitrine: runtime, runc: runtime },
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
      InitBinary: "vitrine-helper",
      // One program stands for Docker's three, so they have its version.
      ContainerdCommit: ours,
      RuncCommit: ours,
      InitCommit: ours,
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
    const common = { Version: vitrineVersion, Os: "linux", Arch: architecture, KernelVersion: release() };
    return {
      Platform: { Name: "Vitrine" },
      ...common,
      GitCommit: "",
      GoVersion: `bun${Bun.version}`,
      BuildTime: "",
      Components: [
        {
          Name: "Engine",
          Version: vitrineVersion,
          Details: { Os: "linux", Arch: architecture, KernelVersion: release(), Runtime: `Bun ${Bun.version}` },
        },
        { Name: "vitrine-helper", Version: vitrineVersion, Details: {} },
      ],
    };
  }

  async diskUsage(): Promise<Record<string, unknown>> {
    const { core } = this;
    const newestFirst = core.store.all().toSorted((a, b) => Date.parse(b.createdAt) - Date.parse(a.createdAt));
    const images = await core.images.summaries({
      all: false,
      filters: new Map(),
      digests: false,
      sharedSize: true,
      usedBy: imageUsers(core),
    });
    const containers = await Promise.all(
      newestFirst.map(async (record) => ({
        ...summaryView(record, shownImageName(core, record)),
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
    return {
      LayersSize: layersSize,
      Images: images,
      Containers: containers,
      Volumes: volumes,
      BuildCache: this.builds.usage(),
    };
  }

  events(
    options: { since?: number; until?: number; filters: Filters },
    signal?: AbortSignal,
  ): AsyncIterable<EventMessage> {
    return this.core.events.stream(options, signal);
  }
}

function machineFacts(): Record<string, unknown> {
  const isOn = (path: string): boolean => readText(path) === "1";
  return {
    IPv4Forwarding: isOn("/proc/sys/net/ipv4/ip_forward"),
    BridgeNfIptables: isOn("/proc/sys/net/bridge/bridge-nf-call-iptables"),
    BridgeNfIp6tables: isOn("/proc/sys/net/bridge/bridge-nf-call-ip6tables"),
    SystemTime: new Date().toISOString(),
    KernelVersion: release(),
    OperatingSystem: osRelease("PRETTY_NAME") || "Linux",
    OSVersion: osRelease("VERSION_ID"),
    OSType: "linux",
    Architecture: machineNames[process.arch] ?? process.arch,
    NCPU: cpus().length,
    MemTotal: totalmem(),
    HttpProxy: process.env.HTTP_PROXY ?? "",
    HttpsProxy: process.env.HTTPS_PROXY ?? "",
    NoProxy: process.env.NO_PROXY ?? "",
    Name: hostname(),
  };
}

/** Made once for a root, as Docker does: an id that stays when the machine is renamed. */
function engineId(path: string): string {
  const present = readText(path);
  if (present) return present;
  const id = crypto.randomUUID();
  writeFileSync(path, `${id}\n`, { mode: 0o600 });
  return id;
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

/** As Docker shows it: ranges in one list, hosts in the other. */
function registryConfig({ insecureRegistries, registryMirrors = [] }: RegistrySettings): Record<string, unknown> {
  const hosts = insecureRegistries.filter((entry) => !entry.includes("/"));
  const hub = { Name: "docker.io", Mirrors: registryMirrors, Secure: true, Official: true };
  return {
    InsecureRegistryCIDRs: ["127.0.0.0/8", ...insecureRegistries.filter((entry) => entry.includes("/"))],
    IndexConfigs: {
      "docker.io": hub,
      ...Object.fromEntries(hosts.map((Name) => [Name, { Name, Mirrors: [], Secure: false, Official: false }])),
    },
    Mirrors: registryMirrors,
  };
}
