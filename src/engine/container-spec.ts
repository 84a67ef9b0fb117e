import { join } from "node:path";
import { EngineError } from "../common/index.ts";
import type { CgroupLimits } from "../kernel/index.ts";
import type { Attachment } from "../network/index.ts";
import { compilePlan, toOciSpec } from "../runtime/index.ts";
import type { HostConfig, Mount, OciSpec, Plan, PlanSettings, ProcessSpec } from "../spec/index.ts";
import { runtimeMounts } from "./container-mounts.ts";
import { cgroupPathOf, monitorCgroupPath, type Core } from "./core.ts";
import type { ContainerRecord } from "./container-record.ts";
import { hostFileMounts, isHostFile } from "./host-files.ts";
import { resolveProcessUser } from "./process-user.ts";

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

type Namespace = { kind: "new" } | { kind: "host" } | { kind: "path"; path: string };

/** The OCI spec of a container's next start. Without a namespace: for explaining, the path that its network will have. */
export function containerSpec(
  core: Core,
  record: ContainerRecord,
  run: { namespace: Attachment["namespace"] | undefined; process: ProcessSpec },
): OciSpec {
  const covered = new Set(record.mounts.map((mount) => mount.Destination));
  return toOciSpec({
    id: record.id,
    config: record.config,
    host: record.host,
    rootPath: core.snapshots.mergedDirectory(record.id),
    mounts: [
      ...hostFileMounts(core.paths, record.id, covered),
      ...shmMounts(core, record, covered),
      ...runtimeMounts(record.mounts),
    ],
    hostname: record.config.Hostname ?? "",
    namespaces: {
      mnt: { kind: "new" },
      pid: namespaceOf(core, { mode: record.host.PidMode, type: "pid" }),
      ipc: namespaceOf(core, {
        mode: hasOwnShm(record) || record.host.IpcMode === "none" ? "" : record.host.IpcMode,
        type: "ipc",
      }),
      uts: utsNamespace(core, record),
      net: run.namespace ?? { kind: "path", path: core.paths.networkNamespace(record.id) },
      user: { kind: "host" },
      cgroup: record.host.CgroupnsMode === "private" ? { kind: "new" } : { kind: "host" },
    },
    cgroupPath: cgroupPathOf(core, record),
    cgroupVersion: core.cgroups.support.version,
    process: run.process,
    initSource: core.options.helperPath,
  });
}

/** The plan of that spec. */
export function containerPlan(
  core: Core,
  record: ContainerRecord,
  run: { spec: OciSpec; relays: Attachment["relays"]; cgroupDirectories: readonly string[] },
): Plan {
  const shm = shmDirectory(core, record);
  const options = ["nosuid", "nodev", "noexec", "mode=1777", `size=${record.host.ShmSize}`];
  const shmMount = { type: "tmpfs", source: "shm", target: shm, options };
  return compilePlan(run.spec, {
    rootMounts: [...core.snapshots.mounts(record.id), ...(hasOwnShm(record) ? [shmMount] : [])],
    settings: monitorSettings(core, record, run.relays),
    cgroupDirectories: run.cgroupDirectories,
    pivot: core.options.noPivot ? "chroot" : "pivot",
    // They are written at the start, and explained before it.
    isFile: (path) => isHostFile(core.paths, record.id, path) || undefined,
  });
}

function hasOwnShm({ host }: ContainerRecord): boolean {
  return !host.IpcMode || host.IpcMode === "private" || host.IpcMode === "shareable";
}

/** Host side of /dev/shm: a tmpfs that other containers (`--ipc container:ID`) bind as well. */
export function shmDirectory(core: Core, record: ContainerRecord): string {
  return join(core.paths.container(record.id), "mounts", "shm");
}

function shmMounts(core: Core, record: ContainerRecord, covered: ReadonlySet<string>): Mount[] {
  const mode = record.host.IpcMode ?? "private";
  if (covered.has("/dev/shm") || mode === "none") return [];
  const source =
    mode === "host"
      ? "/dev/shm"
      : mode.startsWith("container:")
        ? shmDirectory(core, otherContainer(core, mode))
        : shmDirectory(core, record);
  return [{ type: "bind", source, target: "/dev/shm", options: ["rbind", "rprivate"] }];
}

function otherContainer(core: Core, mode: string): ContainerRecord {
  return core.store.get(mode.slice("container:".length));
}

function namespaceOf(core: Core, { mode, type }: { mode: string | undefined; type: "pid" | "ipc" }): Namespace {
  if (!mode || mode === "private") return { kind: "new" };
  if (mode === "host") return { kind: "host" };
  if (!mode.startsWith("container:")) throw new EngineError("invalidArgument", `invalid ${type} mode "${mode}"`);
  const other = otherContainer(core, mode);
  if (other.state.phase !== "running") {
    throw new EngineError("conflict", `cannot join ${type} of a non running container: ${other.id}`);
  }
  return { kind: "path", path: `/proc/${other.state.pid}/ns/${type}` };
}

function utsNamespace(core: Core, record: ContainerRecord): Namespace {
  if (record.host.UTSMode === "host") return { kind: "host" };
  const networkMode = record.host.NetworkMode ?? "";
  if (!networkMode.startsWith("container:")) return { kind: "new" };
  // Docker gives a container that shares a network the other's hostname; sharing the namespace keeps both true.
  const other = otherContainer(core, networkMode);
  return other.state.phase === "running" ? { kind: "path", path: `/proc/${other.state.pid}/ns/uts` } : { kind: "new" };
}

function monitorSettings(core: Core, record: ContainerRecord, relays: Attachment["relays"]): PlanSettings {
  const { config, host } = record;
  const oomControl = core.cgroups.oomControlFile(cgroupPathOf(core, record));
  const logs = logSettings(core, record);
  return {
    id: record.id,
    socket: core.paths.monitorSocket(record.id),
    "exit-record": core.paths.exitRecord(record.id),
    "monitor-cgroups": core.cgroups.monitorDirectories(monitorCgroupPath(core)).join("\n"),
    ...(config.Tty ? { tty: "1" } : {}),
    ...(config.OpenStdin ? { "open-stdin": "1" } : {}),
    ...(config.StdinOnce ? { "stdin-once": "1" } : {}),
    ...(host.LogConfig?.Type === "none" ? {} : logs),
    ...(oomControl ? { "oom-control": oomControl } : {}),
    ...Object.fromEntries(
      relays.map((relay, index) => [`relay.${index}`, `${relay.descriptor} ${relay.address} ${relay.port}`]),
    ),
  };
}

export function logPath(core: Core, record: ContainerRecord): string | undefined {
  return record.host.LogConfig?.Type === "none" ? undefined : join(core.paths.container(record.id), `${record.id}.log`);
}

/** `local` rotates by default, `json-file` does not: Docker's two files-drivers are one file format here. */
function logSettings(core: Core, record: ContainerRecord): PlanSettings {
  const given = record.host.LogConfig?.Config ?? {};
  const local = record.host.LogConfig?.Type === "local";
  const maxSize = given["max-size"] ?? (local ? "20m" : undefined);
  const maxFiles = given["max-file"] ?? (local ? "5" : "1");
  return {
    "log-path": logPath(core, record) ?? "",
    ...(maxSize === undefined || maxSize === "-1"
      ? {}
      : { "log-max-size": String(parseLogSize(maxSize)), "log-max-files": maxFiles }),
  };
}

/** go-units' FromHumanSize: decimal units, unlike those of memory. */
export function parseLogSize(text: string): number {
  const match = /^(\d+)\s*([kmgt]?)b?$/i.exec(text);
  if (!match) throw new EngineError("invalidArgument", `invalid value for max-size: "${text}"`);
  return Number(match[1]) * 1000 ** ["", "k", "m", "g", "t"].indexOf((match[2] ?? "").toLowerCase());
}

/** PATH, HOSTNAME and TERM first, then what image and request say, no name twice (moby's CreateDaemonEnvironment). */
export function environmentOf(record: ContainerRecord, home: string): string[] {
  const { config } = record;
  const variables = new Map<string, string>([["PATH", `PATH=${defaultPath}`]]);
  variables.set("HOSTNAME", `HOSTNAME=${config.Hostname ?? ""}`);
  if (config.Tty) variables.set("TERM", "TERM=xterm");
  for (const variable of config.Env ?? []) {
    const name = variable.split("=", 1)[0] ?? "";
    // `-e NAME` without a value takes the variable away.
    if (variable.includes("=")) variables.set(name, variable);
    else variables.delete(name);
  }
  if (!variables.has("HOME")) variables.set("HOME", `HOME=${home}`);
  return [...variables.values()];
}

/** The container's main process, with its user looked up in its own files. */
export function processOf(
  core: Core,
  record: ContainerRecord,
  consoleSize?: readonly [height: number, width: number],
): ProcessSpec {
  const user = resolveProcessUser(core, record.id, {
    user: record.config.User ?? "",
    groupAdd: record.host.GroupAdd ?? [],
  });
  return {
    args: [record.path, ...record.args],
    env: environmentOf(record, user.home),
    cwd: record.config.WorkingDir || "/",
    user,
    terminal: record.config.Tty ?? false,
    privileged: record.host.Privileged ?? false,
    ...(consoleSize ? { consoleSize: { height: consoleSize[0], width: consoleSize[1] } } : {}),
  };
}

/** Limits of the container's group; the device rules are the OCI spec's. */
export function limitsOf(host: HostConfig, devices?: CgroupLimits["devices"]): CgroupLimits {
  const present = Object.entries({
    memory: host.Memory,
    memorySwap: host.MemorySwap,
    memoryReservation: host.MemoryReservation,
    memorySwappiness: host.MemorySwappiness,
    oomKillDisable: host.OomKillDisable,
    cpuShares: host.CpuShares,
    cpuQuota: host.NanoCpus ? Math.round((host.NanoCpus / 1e9) * 100_000) : host.CpuQuota,
    cpuPeriod: host.NanoCpus ? 100_000 : host.CpuPeriod,
    cpusetCpus: host.CpusetCpus,
    cpusetMems: host.CpusetMems,
    pids: host.PidsLimit,
    blkioWeight: host.BlkioWeight,
    devices,
  }).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return Object.fromEntries(present) as CgroupLimits;
}
