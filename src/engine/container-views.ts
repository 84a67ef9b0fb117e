import { join } from "node:path";
import { formatDuration, shortId, type Paths } from "../common/index.ts";
import type {
  ContainerInspect,
  ContainerPort,
  ContainerState,
  ContainerStatus,
  ContainerSummary,
  EndpointSettings,
  GraphDriver,
  MountPoint,
  NetworkSettings,
} from "../spec/index.ts";
import { zeroTime, type ContainerRecord } from "./container-record.ts";

export function statusOf({ state }: ContainerRecord): ContainerStatus {
  if (state.restarting) return "restarting";
  switch (state.phase) {
    case "created":
    case "starting":
      return "created";
    case "running":
      return state.paused ? "paused" : "running";
    default:
      return state.phase;
  }
}

/** `Up 3 minutes`, `Exited (0) 2 hours ago`: the STATUS column. */
export function statusText(record: ContainerRecord, now = Date.now()): string {
  const { state } = record;
  const since = (time: string): string => formatDuration(now - Date.parse(time));
  switch (statusOf(record)) {
    case "running":
      return `Up ${since(state.startedAt)}${healthText(state)}`;
    case "paused":
      return `Up ${since(state.startedAt)} (Paused)`;
    case "restarting":
      return `Restarting (${state.exitCode}) ${since(state.finishedAt)} ago`;
    case "created":
      return "Created";
    case "removing":
      return "Removal In Progress";
    case "dead":
      return "Dead";
    case "exited":
      return `Exited (${state.exitCode}) ${state.finishedAt === zeroTime ? "" : `${since(state.finishedAt)} ago`}`.trimEnd();
  }
}

function healthText({ health }: ContainerRecord["state"]): string {
  if (!health) return "";
  return health.Status === "starting" ? " (health: starting)" : ` (${health.Status})`;
}

export function inspectView(
  record: ContainerRecord,
  context: { paths: Paths; driver: GraphDriver; execIds: string[]; logPath: string },
): ContainerInspect {
  const directory = context.paths.container(record.id);
  return {
    Id: record.id,
    Created: record.createdAt,
    Path: record.path,
    Args: [...record.args],
    State: stateView(record),
    Image: record.imageId,
    ResolvConfPath: join(directory, "resolv.conf"),
    HostnamePath: join(directory, "hostname"),
    HostsPath: join(directory, "hosts"),
    LogPath: context.logPath,
    Name: `/${record.name}`,
    RestartCount: record.restartCount,
    Driver: context.driver.Name,
    Platform: "linux",
    MountLabel: "",
    ProcessLabel: "",
    AppArmorProfile: "",
    ExecIDs: context.execIds.length > 0 ? context.execIds : null,
    HostConfig: record.host,
    GraphDriver: context.driver,
    Mounts: mountPoints(record),
    Config: record.config,
    NetworkSettings: networkView(record),
  };
}

function stateView(record: ContainerRecord): ContainerState {
  const { state } = record;
  return {
    Status: statusOf(record),
    Running: state.phase === "running",
    Paused: state.paused,
    Restarting: state.restarting,
    OOMKilled: state.oomKilled,
    Dead: state.phase === "dead",
    Pid: state.phase === "running" ? state.pid : 0,
    ExitCode: state.exitCode,
    Error: state.error,
    StartedAt: state.startedAt,
    FinishedAt: state.finishedAt,
    ...(state.health ? { Health: state.health } : {}),
  };
}

/** Volumes, binds and tmpfs of `--mount`, as inspect shows them. */
export function mountPoints(record: ContainerRecord): MountPoint[] {
  return record.mounts.map(({ anonymous: _anonymous, file: _file, options: _options, ...point }) => point);
}

const noEndpoint = {
  EndpointID: "",
  Gateway: "",
  GlobalIPv6Address: "",
  GlobalIPv6PrefixLen: 0,
  IPAddress: "",
  IPPrefixLen: 0,
  IPv6Gateway: "",
  MacAddress: "",
};

/** The endpoint of a container that has none now: Docker lists its network with empty values. */
function idleEndpoint(): EndpointSettings {
  return { IPAMConfig: null, Links: null, Aliases: null, NetworkID: "", ...noEndpoint };
}

export function networksOf(record: ContainerRecord): Record<string, EndpointSettings> {
  const mode = record.host.NetworkMode ?? "bridge";
  if (mode.startsWith("container:")) return {};
  const name = record.network?.networkName ?? mode;
  return { [name]: record.network?.settings ?? idleEndpoint() };
}

function networkView(record: ContainerRecord): NetworkSettings {
  const network = record.network;
  const settings = network?.settings;
  const {
    EndpointID,
    Gateway,
    GlobalIPv6Address,
    GlobalIPv6PrefixLen,
    IPAddress,
    IPPrefixLen,
    IPv6Gateway,
    MacAddress,
  } = settings ?? noEndpoint;
  return {
    Bridge: "",
    SandboxID: network ? record.id : "",
    SandboxKey: network?.sandboxKey ?? "",
    Ports: network?.ports ?? {},
    HairpinMode: false,
    LinkLocalIPv6Address: "",
    LinkLocalIPv6PrefixLen: 0,
    SecondaryIPAddresses: null,
    SecondaryIPv6Addresses: null,
    EndpointID,
    Gateway,
    GlobalIPv6Address,
    GlobalIPv6PrefixLen,
    IPAddress,
    IPPrefixLen,
    IPv6Gateway,
    MacAddress,
    Networks: networksOf(record),
  };
}

export function portsOf(record: ContainerRecord): ContainerPort[] {
  if (record.state.phase !== "running") return [];
  return Object.entries(record.network?.ports ?? {}).flatMap(([port, bindings]): ContainerPort[] => {
    const [number = "0", protocol = "tcp"] = port.split("/");
    const base = { PrivatePort: Number(number), Type: protocol };
    if (!bindings || bindings.length === 0) return [base];
    return bindings.map((binding) => ({ IP: binding.HostIp ?? "", ...base, PublicPort: Number(binding.HostPort) }));
  });
}

/** The image as the container's creator wrote it, or its id when that name means another image now. */
export function summaryView(record: ContainerRecord, imageName: string): ContainerSummary {
  const command = [record.path, ...record.args].map((word) => (/[\s"']/.test(word) ? `'${word}'` : word)).join(" ");
  return {
    Id: record.id,
    Names: [`/${record.name}`],
    Image: imageName,
    ImageID: record.imageId,
    Command: command,
    Created: Math.floor(Date.parse(record.createdAt) / 1000),
    Ports: portsOf(record),
    Labels: record.config.Labels ?? {},
    State: statusOf(record),
    Status: statusText(record),
    HostConfig: { NetworkMode: record.host.NetworkMode ?? "bridge" },
    NetworkSettings: { Networks: networksOf(record) },
    Mounts: mountPoints(record),
  };
}

/** Attributes of a container's events: its labels, image and name. */
export function eventAttributes(
  record: ContainerRecord,
  more: Readonly<Record<string, string>> = {},
): Record<string, string> {
  return { ...record.config.Labels, image: record.config.Image ?? shortId(record.imageId), name: record.name, ...more };
}
