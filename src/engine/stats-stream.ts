import { setTimeout as delay } from "node:timers/promises";
import { readFileSync } from "node:fs";
import type { CgroupStats } from "../kernel/index.ts";
import { cgroupPathOf, type Core } from "./core.ts";
import type { LiveContainer } from "./live-container.ts";

const intervalMs = 1000;

/** Docker's stats objects (API reference, ContainerStats): one now, and with `stream` one a second. A stopped container's are zeros. */
export async function* statsStream(
  core: Core,
  container: LiveContainer,
  options: { stream: boolean; oneShot: boolean },
  signal?: AbortSignal,
): AsyncGenerator<unknown> {
  let previous: Sample | undefined;
  if (!options.stream && !options.oneShot) {
    previous = sample(core, container);
    if (previous) await delay(intervalMs, undefined, signal ? { signal } : {}).catch(() => {});
  }
  for (;;) {
    const current = sample(core, container);
    yield toStats(container, current, previous);
    if (!options.stream) return;
    previous = current;
    await delay(intervalMs, undefined, signal ? { signal } : {}).catch(() => {});
    if (signal?.aborted || !core.store.all().includes(container.record)) return;
  }
}

interface Sample {
  readonly read: string;
  readonly stats: CgroupStats;
  readonly networks: Record<string, NetworkCounters> | undefined;
}

function sample(core: Core, container: LiveContainer): Sample | undefined {
  const { record } = container;
  if (record.state.phase !== "running") return undefined;
  return {
    read: new Date().toISOString(),
    stats: core.cgroups.stats(cgroupPathOf(core, record)),
    networks: networkCounters(record.state.pid),
  };
}

const zeroTime = "0001-01-01T00:00:00Z";
const emptyCpu = {
  cpu_usage: { total_usage: 0, usage_in_kernelmode: 0, usage_in_usermode: 0 },
  throttling_data: { periods: 0, throttled_periods: 0, throttled_time: 0 },
};

function toStats({ record }: LiveContainer, current: Sample | undefined, previous: Sample | undefined): unknown {
  return {
    read: current?.read ?? zeroTime,
    preread: previous?.read ?? zeroTime,
    id: record.id,
    name: `/${record.name}`,
    num_procs: 0,
    storage_stats: {},
    pids_stats: current?.stats.pids_stats ?? {},
    blkio_stats: current?.stats.blkio_stats ?? {},
    cpu_stats: current?.stats.cpu_stats ?? emptyCpu,
    precpu_stats: previous?.stats.cpu_stats ?? emptyCpu,
    memory_stats: current?.stats.memory_stats ?? {},
    ...(current?.networks ? { networks: current.networks } : {}),
  };
}

interface NetworkCounters {
  rx_bytes: number;
  rx_packets: number;
  rx_errors: number;
  rx_dropped: number;
  tx_bytes: number;
  tx_packets: number;
  tx_errors: number;
  tx_dropped: number;
}

/** /proc/PID/net/dev of a process in the container's network namespace; lo is left out, as Docker does. */
function networkCounters(pid: number): Record<string, NetworkCounters> | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/net/dev`, "utf8");
  } catch {
    return undefined;
  }
  const rows = text
    .split("\n")
    .slice(2)
    .flatMap((line): [string, NetworkCounters][] => {
      const [name = "", counters = ""] = line.trim().split(":");
      const n = counters.trim().split(/\s+/).map(Number);
      if (name === "" || name === "lo") return [];
      const at = (index: number): number => n[index] ?? 0;
      return [
        [
          name,
          {
            rx_bytes: at(0),
            rx_packets: at(1),
            rx_errors: at(2),
            rx_dropped: at(3),
            tx_bytes: at(8),
            tx_packets: at(9),
            tx_errors: at(10),
            tx_dropped: at(11),
          },
        ],
      ];
    });
  return rows.length > 0 ? Object.fromEntries(rows) : undefined;
}
