import type { ContainerConfig, ContainerCreateRequest, HostConfig, Ulimit } from "../../spec/index.ts";
import type { FlagValues } from "../flag-values.ts";
import { windowSize } from "../terminal.ts";
import { UsageError } from "../usage-error.ts";
import { toCapabilities } from "./capabilities.ts";
import { readLabels, readVariables, toMap } from "./environment.ts";
import { toHealthcheck } from "./health.ts";
import { parseMount } from "./mounts.ts";
import { toEndpoints } from "./networks.ts";
import { parsePorts, type Ports } from "./ports.ts";
import { sizeOf, toResources } from "./resources.ts";
import { parseSecurity } from "./security.ts";
import { parseDevice, parseExtraHost, parseRestartPolicy, parseUlimit } from "./values.ts";
import { parseVolumes, type Volumes } from "./volumes.ts";

/**
 * The body of `POST /containers/create` for the flags of run and create, as docker's CLI makes it. Reads files that the
 * flags name; throws UsageError for values that make no sense together.
 */
export function toCreateRequest(flags: FlagValues, args: readonly string[]): ContainerCreateRequest {
  checkModes(flags);
  const ports = parsePorts(flags.list("publish"), flags.list("expose"));
  const volumes = parseVolumes(flags.list("volume"));
  const { mode, endpoints } = toEndpoints(flags);
  return {
    ...toConfig(flags, { args, ports, volumes }),
    HostConfig: toHostConfig(flags, { ports, volumes, networkMode: mode }),
    NetworkingConfig: { EndpointsConfig: endpoints },
  };
}

function toConfig(
  flags: FlagValues,
  parts: { args: readonly string[]; ports: Ports; volumes: Volumes },
): ContainerConfig {
  const [image = "", ...command] = parts.args;
  const attach = new Set(flags.list("attach").map((stream) => stream.toLowerCase()));
  const openStdin = flags.bool("interactive");
  const attachStdin = openStdin || attach.has("stdin");
  const entrypoint = flags.optional("entrypoint");
  const health = toHealthcheck(flags);
  return {
    Hostname: flags.string("hostname"),
    Domainname: flags.string("domainname"),
    User: flags.string("user"),
    AttachStdin: attachStdin,
    AttachStdout: attach.size === 0 || attach.has("stdout"),
    AttachStderr: attach.size === 0 || attach.has("stderr"),
    ExposedPorts: parts.ports.exposed,
    Tty: flags.bool("tty"),
    OpenStdin: openStdin,
    StdinOnce: openStdin && attachStdin,
    Env: readVariables(flags.list("env-file"), flags.list("env")),
    Cmd: command.length > 0 ? command : null,
    Image: image,
    Volumes: parts.volumes.anonymous,
    WorkingDir: flags.string("workdir"),
    // `--entrypoint=` resets the image's: that is [""] on the wire.
    Entrypoint: entrypoint === undefined ? null : [entrypoint],
    OnBuild: null,
    Labels: readLabels(flags.list("label-file"), flags.list("label")),
    ...(flags.changed("stop-signal") ? { StopSignal: flags.string("stop-signal") } : {}),
    ...(flags.changed("stop-timeout") ? { StopTimeout: flags.number("stop-timeout") } : {}),
    ...(health ? { Healthcheck: health } : {}),
  };
}

function toHostConfig(flags: FlagValues, parts: { ports: Ports; volumes: Volumes; networkMode: string }): HostConfig {
  const security = parseSecurity(flags.list("security-opt"));
  const restart = parseRestartPolicy(flags.string("restart"));
  if (flags.bool("rm") && restart.Name && restart.Name !== "no") {
    throw new UsageError("conflicting options: cannot specify both --restart and --rm");
  }
  return {
    ...toResources(flags),
    ...toIsolation(flags),
    Binds: parts.volumes.binds,
    ContainerIDFile: flags.string("cidfile"),
    LogConfig: { Type: flags.string("log-driver"), Config: logOptions(flags) },
    NetworkMode: parts.networkMode,
    PortBindings: parts.ports.bindings,
    RestartPolicy: restart,
    AutoRemove: flags.bool("rm"),
    VolumeDriver: flags.string("volume-driver"),
    VolumesFrom: orNull(flags.list("volumes-from")),
    Dns: [...flags.list("dns")],
    DnsOptions: [...flags.list("dns-option")],
    DnsSearch: [...flags.list("dns-search")],
    ExtraHosts: orNull(flags.list("add-host").map(parseExtraHost)),
    Links: orNull(flags.list("link")),
    PublishAllPorts: flags.bool("publish-all"),
    SecurityOpt: orNull(security.options),
    StorageOpt: orNullMap(storageOptions(flags)),
    Tmpfs: orNullMap(tmpfsOptions(flags)),
    ConsoleSize: consoleSize(),
    ShmSize: sizeOf(flags, "shm-size"),
    Sysctls: orNullMap(toMap(flags.list("sysctl"))),
    Runtime: flags.string("runtime"),
    ...(flags.changed("mount") ? { Mounts: flags.list("mount").map(parseMount) } : {}),
    ...(security.maskedPaths ? { MaskedPaths: security.maskedPaths } : {}),
    ...(security.readonlyPaths ? { ReadonlyPaths: security.readonlyPaths } : {}),
    ...(flags.changed("init") ? { Init: flags.bool("init") } : {}),
    ...(flags.changed("annotation") ? { Annotations: toMap(flags.list("annotation")) } : {}),
  };
}

/** What the container may see and do. */
function toIsolation(flags: FlagValues): HostConfig {
  return {
    ...toCapabilities(flags.list("cap-add"), flags.list("cap-drop")),
    CgroupnsMode: flags.string("cgroupns") as NonNullable<HostConfig["CgroupnsMode"]>,
    CgroupParent: flags.string("cgroup-parent"),
    Devices: flags.list("device").map(parseDevice),
    DeviceCgroupRules: orNull(flags.list("device-cgroup-rule")),
    GroupAdd: orNull(flags.list("group-add")),
    IpcMode: flags.string("ipc"),
    MemorySwappiness: swappiness(flags),
    OomKillDisable: flags.bool("oom-kill-disable"),
    OomScoreAdj: flags.number("oom-score-adj"),
    PidMode: flags.string("pid"),
    Privileged: flags.bool("privileged"),
    ReadonlyRootfs: flags.bool("read-only"),
    Ulimits: toUlimits(flags.list("ulimit")),
    UTSMode: flags.string("uts"),
    UsernsMode: flags.string("userns"),
  };
}

/** The terminal's height and width, zeros without one. */
function consoleSize(): [height: number, width: number] {
  const size = windowSize();
  return size ? [size.rows, size.columns] : [0, 0];
}

/** One limit of a name, the last given, sorted by name. */
function toUlimits(texts: readonly string[]): Ulimit[] {
  const limits = new Map(texts.map(parseUlimit).map((limit) => [limit.Name, limit] as const));
  return [...limits.values()].sort((left, right) => (left.Name < right.Name ? -1 : 1));
}

function checkModes(flags: FlagValues): void {
  const check = (flag: string, pattern: RegExp, name: string): void => {
    if (!pattern.test(flags.string(flag))) throw new UsageError(`--${flag}: invalid ${name} mode`);
  };
  check("pid", /^(host|container:.+)?$/, "PID");
  check("uts", /^(host)?$/, "UTS");
  check("userns", /^(host)?$/, "USER");
  check("cgroupns", /^(host|private)?$/, "CGROUP");
  const mac = flags.string("mac-address");
  if (mac !== "" && !/^([0-9a-f]{2}[:-]){5}[0-9a-f]{2}$/i.test(mac.trim())) {
    throw new UsageError(`${mac} is not a valid mac address`);
  }
}

function swappiness(flags: FlagValues): number {
  const value = flags.number("memory-swappiness");
  if (value < -1 || value > 100) {
    throw new UsageError(`invalid value: ${value}. Valid memory swappiness range is 0-100`);
  }
  return value;
}

function logOptions(flags: FlagValues): Record<string, string> {
  const options = flags.list("log-opt");
  const driver = flags.string("log-driver");
  if (driver === "none" && options.length > 0) throw new UsageError(`invalid logging opts for driver ${driver}`);
  return toMap(options);
}

function storageOptions(flags: FlagValues): Record<string, string> {
  for (const option of flags.list("storage-opt")) {
    if (!option.includes("=")) throw new UsageError("invalid storage option");
  }
  return toMap(flags.list("storage-opt"));
}

/** `--tmpfs /run:rw,size=1m`: target to options. */
function tmpfsOptions(flags: FlagValues): Record<string, string> {
  return Object.fromEntries(
    flags.list("tmpfs").map((text) => {
      const colon = text.indexOf(":");
      return colon < 0 ? [text, ""] : [text.slice(0, colon), text.slice(colon + 1)];
    }),
  );
}

function orNull(list: readonly string[]): string[] | null {
  return list.length > 0 ? [...list] : null;
}

function orNullMap(map: Record<string, string>): Record<string, string> | null {
  return Object.keys(map).length > 0 ? map : null;
}
