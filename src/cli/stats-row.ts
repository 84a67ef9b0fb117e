import { formatBinarySize, formatSize, shortId } from "../common/index.ts";
import { goType, type GoObject } from "./go-template/index.ts";

interface CpuStats {
  readonly cpu_usage?: { readonly total_usage?: number; readonly percpu_usage?: readonly number[] | null };
  readonly system_cpu_usage?: number;
  readonly online_cpus?: number;
}

/** A container's name as it was asked for, and what `GET /containers/{id}/stats` answered. */
export interface Sample {
  readonly container: string;
  readonly stats: {
    readonly id?: string;
    readonly name?: string;
    readonly cpu_stats?: CpuStats;
    readonly precpu_stats?: CpuStats;
    readonly memory_stats?: {
      readonly usage?: number;
      readonly limit?: number;
      readonly stats?: Record<string, number>;
    };
    readonly networks?: Record<string, { readonly rx_bytes?: number; readonly tx_bytes?: number }>;
    readonly blkio_stats?: {
      readonly io_service_bytes_recursive?: readonly { readonly op: string; readonly value: number }[] | null;
    };
    readonly pids_stats?: { readonly current?: number };
  };
}

export const statsHeaders = {
  Container: "CONTAINER",
  ID: "CONTAINER ID",
  Name: "NAME",
  CPUPerc: "CPU %",
  MemUsage: "MEM USAGE / LIMIT",
  MemPerc: "MEM %",
  NetIO: "NET I/O",
  BlockIO: "BLOCK I/O",
  PIDs: "PIDS",
};

/** The fields that a `--format` of stats may name; the arithmetic is docker's. */
export function statsRow({ container, stats }: Sample, truncate: boolean): GoObject {
  const used = memoryUsed(stats.memory_stats ?? {});
  const limit = stats.memory_stats?.limit ?? 0;
  const networks = Object.values(stats.networks ?? {});
  const received = networks.reduce((sum, network) => sum + (network.rx_bytes ?? 0), 0);
  const sent = networks.reduce((sum, network) => sum + (network.tx_bytes ?? 0), 0);
  const id = stats.id ?? "";
  return {
    [goType]: "*container.statsContext",
    Container: container,
    ID: truncate ? shortId(id) : id,
    Name: stats.name?.replace(/^\//, "") || "--",
    CPUPerc: percent(cpuShare(stats.precpu_stats ?? {}, stats.cpu_stats ?? {})),
    MemUsage: `${formatBinarySize(used)} / ${formatBinarySize(limit)}`,
    MemPerc: percent(limit === 0 ? 0 : (used / limit) * 100),
    NetIO: `${formatSize(received, 3)} / ${formatSize(sent, 3)}`,
    BlockIO: `${formatSize(blockBytes(stats, "r"), 3)} / ${formatSize(blockBytes(stats, "w"), 3)}`,
    PIDs: String(stats.pids_stats?.current ?? 0),
  };
}

function percent(value: number): string {
  return `${value.toFixed(2)}%`;
}

/** 100 is one whole CPU. */
function cpuShare(before: CpuStats, now: CpuStats): number {
  const cpu = (now.cpu_usage?.total_usage ?? 0) - (before.cpu_usage?.total_usage ?? 0);
  const system = (now.system_cpu_usage ?? 0) - (before.system_cpu_usage ?? 0);
  const cpus = now.online_cpus || now.cpu_usage?.percpu_usage?.length || 0;
  return system > 0 && cpu > 0 ? (cpu / system) * cpus * 100 : 0;
}

/** Without the cache that the kernel would give back first: total_inactive_file on v1, inactive_file on v2. */
function memoryUsed(memory: { usage?: number; stats?: Record<string, number> }): number {
  const usage = memory.usage ?? 0;
  for (const name of ["total_inactive_file", "inactive_file"]) {
    const inactive = memory.stats?.[name];
    if (inactive !== undefined && inactive < usage) return usage - inactive;
  }
  return usage;
}

function blockBytes(stats: Sample["stats"], letter: string): number {
  const entries = stats.blkio_stats?.io_service_bytes_recursive ?? [];
  return entries
    .filter((entry) => entry.op.toLowerCase().startsWith(letter))
    .reduce((sum, entry) => sum + entry.value, 0);
}
