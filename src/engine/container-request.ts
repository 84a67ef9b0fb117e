import { EngineError } from "../common/index.ts";
import type {
  ContainerConfig,
  ContainerCreateRequest,
  HealthConfig,
  HostConfig,
  ImageRunConfig,
} from "../spec/index.ts";
import { checkRequest } from "./check-request.ts";

const minimumMemoryBytes = 6 * 1024 * 1024;
const defaultShmBytes = 64 * 1024 * 1024;
const defaultLogDriver = "json-file";

/** Docker's rule for names given by people. */
export const namePattern = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;

/** The request over what the image says, as moby's `merge` does (daemon/commit.go). The request's own objects are not changed. */
export function mergeConfig(request: ContainerConfig, image: ImageRunConfig): ContainerConfig {
  const hasEntrypoint = (request.Entrypoint?.length ?? 0) > 0;
  const hasCommand = (request.Cmd?.length ?? 0) > 0;
  // `[""]` is how clients say "no entrypoint at all".
  const clearsEntrypoint = request.Entrypoint?.length === 1 && request.Entrypoint[0] === "";
  const command = hasCommand || hasEntrypoint ? request.Cmd : image.Cmd;
  const entrypoint = hasEntrypoint ? (clearsEntrypoint ? null : request.Entrypoint) : image.Entrypoint;
  const requested = request.Env ?? [];
  const named = new Set(requested.map((one) => one.split("=", 1)[0]));
  return {
    ...request,
    User: request.User || image.User || "",
    ExposedPorts: { ...image.ExposedPorts, ...request.ExposedPorts },
    Env: [...requested, ...(image.Env ?? []).filter((one) => !named.has(one.split("=", 1)[0]))],
    Cmd: command ?? null,
    Entrypoint: entrypoint ?? null,
    Volumes: { ...image.Volumes, ...request.Volumes },
    WorkingDir: request.WorkingDir || image.WorkingDir || "",
    Labels: { ...image.Labels, ...request.Labels },
    ...(request.StopSignal || image.StopSignal ? { StopSignal: request.StopSignal || image.StopSignal || "" } : {}),
    ...(image.Shell && !request.Shell ? { Shell: image.Shell } : {}),
    ...mergeHealthcheck(request.Healthcheck, image.Healthcheck),
  };
}

/** Each member for itself: a request may change the interval of the image's check. */
function mergeHealthcheck(
  request: HealthConfig | null | undefined,
  image: HealthConfig | undefined,
): { Healthcheck?: HealthConfig } {
  if (!request) return image ? { Healthcheck: image } : {};
  const Healthcheck: HealthConfig = { ...request };
  if (!request.Test?.length && image?.Test) Healthcheck.Test = image.Test;
  for (const name of [...healthDurations, "Retries"] as const) {
    const value = request[name] || image?.[name];
    if (value) Healthcheck[name] = value;
  }
  return { Healthcheck };
}

const healthDurations = ["Interval", "Timeout", "StartPeriod", "StartInterval"] as const;
const healthTests = ["NONE", "CMD", "CMD-SHELL"];

/** Docker's words; it runs no check of a kind that it does not know, which is refused here. */
function validateHealthcheck(health: HealthConfig | null | undefined): void {
  for (const name of healthDurations) {
    const duration = health?.[name] ?? 0;
    if (duration !== 0 && duration < 1e6)
      throw new EngineError("invalidArgument", `${name} in Healthcheck cannot be less than 1ms`);
  }
  if ((health?.Retries ?? 0) < 0) throw new EngineError("invalidArgument", "Retries in Healthcheck cannot be negative");
  const [kind] = health?.Test ?? [];
  if (kind !== undefined && !healthTests.includes(kind))
    throw new EngineError(
      "invalidArgument",
      `Unknown healthcheck type "${kind}": it is one of ${healthTests.join(", ")}`,
    );
}

/** HostConfig with Docker's defaults where the request is silent. */
export function completeHostConfig(request: HostConfig, options: { cgroupnsDefault: "host" | "private" }): HostConfig {
  return {
    ...request,
    NetworkMode: normaliseNetworkMode(request.NetworkMode),
    IpcMode: request.IpcMode || "private",
    CgroupnsMode: request.CgroupnsMode || (request.Privileged ? "host" : options.cgroupnsDefault),
    ShmSize: request.ShmSize || defaultShmBytes,
    LogConfig: { Type: request.LogConfig?.Type || defaultLogDriver, Config: request.LogConfig?.Config ?? {} },
    RestartPolicy: {
      Name: request.RestartPolicy?.Name || "no",
      MaximumRetryCount: request.RestartPolicy?.MaximumRetryCount ?? 0,
    },
    Runtime: request.Runtime || "vitrine",
  };
}

function normaliseNetworkMode(mode: string | undefined): string {
  return !mode || mode === "default" ? "bridge" : mode;
}

const logDrivers = ["json-file", "local", "none"];

/** Refuses what cannot be, and by name what is not built; returns warnings. Docker's words where clients know them. */
export function validateRequest(request: ContainerCreateRequest): string[] {
  const host = request.HostConfig ?? {};
  validateResources(host);
  refuseUnbuilt(request);
  validateHealthcheck(request.Healthcheck);
  checkRequest(request);
  if (host.AutoRemove && host.RestartPolicy?.Name && host.RestartPolicy.Name !== "no") {
    throw new EngineError("invalidArgument", "can't create 'AutoRemove' container with restart policy");
  }
  if ((host.RestartPolicy?.MaximumRetryCount ?? 0) > 0 && host.RestartPolicy?.Name !== "on-failure") {
    throw new EngineError(
      "invalidArgument",
      "invalid restart policy: maximum retry count can only be used with 'on-failure'",
    );
  }
  for (const variable of request.Env ?? []) {
    if (variable === "" || variable.startsWith("="))
      throw new EngineError("invalidArgument", `invalid environment variable: ${variable}`);
  }
  if (request.WorkingDir && !request.WorkingDir.startsWith("/")) {
    throw new EngineError(
      "invalidArgument",
      `the working directory '${request.WorkingDir}' is invalid, it needs to be an absolute path`,
    );
  }
  if (request.Hostname && !/^[a-zA-Z0-9_]([a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9_])?$/.test(request.Hostname)) {
    throw new EngineError(
      "invalidArgument",
      `invalid hostname: "${request.Hostname}" is not 1 to 63 letters, digits, dots and hyphens`,
    );
  }
  return [];
}

function validateResources(host: HostConfig): void {
  const { Memory: memory = 0, MemorySwap: swap = 0, MemoryReservation: reservation = 0, NanoCpus: nanoCpus = 0 } = host;
  const invalid = (message: string): never => {
    throw new EngineError("invalidArgument", message);
  };
  if (memory !== 0 && memory < minimumMemoryBytes) invalid("Minimum memory limit allowed is 6MB");
  if (memory > 0 && swap > 0 && swap < memory)
    invalid("Minimum memoryswap limit should be larger than memory limit, see usage");
  if (memory === 0 && swap > 0)
    invalid("You should always set the Memory limit when using Memoryswap limit, see usage");
  if (memory > 0 && reservation > memory)
    invalid("Minimum memory limit can not be less than memory reservation limit, see usage");
  if (nanoCpus > 0 && ((host.CpuPeriod ?? 0) > 0 || (host.CpuQuota ?? 0) > 0)) {
    invalid("Conflicting options: Nano CPUs and CPU Period cannot both be set");
  }
  const available = navigator.hardwareConcurrency;
  if (nanoCpus < 0 || nanoCpus > available * 1e9) {
    invalid(`range of CPUs is from 0.01 to ${available}.00, as there are only ${available} CPUs available`);
  }
  const { CpuPeriod: period = 0, CpuQuota: quota = 0 } = host;
  if (period !== 0 && (period < 1000 || period > 1_000_000))
    invalid("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)");
  if (quota > 0 && quota < 1000) invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)");
  if (host.LogConfig?.Type && !logDrivers.includes(host.LogConfig.Type)) {
    invalid(`logger: no log driver named '${host.LogConfig.Type}' is registered: there are ${logDrivers.join(", ")}`);
  }
}

/** Fields of HostConfig that no type of ours has; the flag is docker's. */
const unbuiltResources = [
  ["BlkioWeightDevice", "--blkio-weight-device"],
  ["BlkioDeviceReadBps", "--device-read-bps"],
  ["BlkioDeviceWriteBps", "--device-write-bps"],
  ["BlkioDeviceReadIOps", "--device-read-iops"],
  ["BlkioDeviceWriteIOps", "--device-write-iops"],
  ["KernelMemory", "--kernel-memory"],
  ["KernelMemoryTCP", ""],
  ["CpuCount", "--cpu-count"],
  ["CpuPercent", "--cpu-percent"],
  ["IOMaximumIOps", "--io-maxiops"],
  ["IOMaximumBandwidth", "--io-maxbandwidth"],
  ["Cgroup", ""],
] as const;

/** What the API knows and this engine does not do yet, each refused by its name rather than ignored. */
function refuseUnbuilt(request: ContainerCreateRequest): void {
  const host = request.HostConfig ?? {};
  const filled = (list: readonly unknown[] | null | undefined): boolean => (list?.length ?? 0) > 0;
  const set: readonly (readonly [name: string, isSet: boolean])[] = [
    ["HostConfig.VolumesFrom (--volumes-from)", filled(host.VolumesFrom)],
    ["HostConfig.Links (--link)", filled(host.Links)],
    ["HostConfig.Dns (--dns)", filled(host.Dns) || filled(host.DnsOptions) || filled(host.DnsSearch)],
    ["HostConfig.StorageOpt (--storage-opt)", Object.keys(host.StorageOpt ?? {}).length > 0],
    [`HostConfig.UsernsMode "${host.UsernsMode}" (--userns)`, Boolean(host.UsernsMode) && host.UsernsMode !== "host"],
    [
      `HostConfig.Runtime "${host.Runtime}" (--runtime)`,
      Boolean(host.Runtime) && host.Runtime !== "vitrine" && host.Runtime !== "runc",
    ],
    [
      `HostConfig.VolumeDriver "${host.VolumeDriver}" (--volume-driver)`,
      Boolean(host.VolumeDriver) && host.VolumeDriver !== "local",
    ],
    [`HostConfig.Isolation "${host.Isolation}"`, Boolean(host.Isolation) && host.Isolation !== "default"],
    ["HostConfig.DeviceRequests (--gpus)", filled((host as { DeviceRequests?: unknown[] | null }).DeviceRequests)],
    ["HostConfig.Annotations (--annotation)", Object.keys(host.Annotations ?? {}).length > 0],
    ["NetworkDisabled", request.NetworkDisabled === true],
    ...unbuiltResources.map(([name, flag]): [string, boolean] => {
      const value = (host as Readonly<Record<string, unknown>>)[name];
      return [`HostConfig.${name}${flag && ` (${flag})`}`, Array.isArray(value) ? value.length > 0 : Boolean(value)];
    }),
    ["CpuRealtimePeriod (--cpu-rt-period)", Boolean(host.CpuRealtimePeriod) || Boolean(host.CpuRealtimeRuntime)],
  ];
  for (const [name, isSet] of set) {
    if (isSet) throw new EngineError("unsupported", `${name} is not built yet`);
  }
}

/** What is executed: entrypoint then command. */
export function commandOf(config: ContainerConfig): { path: string; args: string[] } {
  const words = [...(config.Entrypoint ?? []), ...(config.Cmd ?? [])];
  const [path, ...args] = words;
  if (path === undefined || path === "") throw new EngineError("invalidArgument", "no command specified");
  return { path, args };
}
