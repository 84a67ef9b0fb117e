import { join } from "node:path";
import { readControl, readKeyed } from "./cgroup-files.ts";
import type { PartialStats } from "./cgroup-part.ts";
import type { BlkioEntry } from "./cgroups.ts";
import { emptyBlkio, noThrottling, onlineCpus, readMemoryLimit, systemCpuUsage } from "./machine-stats.ts";

type DirectoryOf = (controller: string) => string | undefined;

/** cpuacct.stat counts in USER_HZ, 100 on every architecture that is supported. */
const nanosecondsPerTick = 10_000_000;

export function readV1Stats(directoryOf: DirectoryOf): PartialStats {
  const stats: PartialStats = {};
  const cpu = readCpu(directoryOf);
  if (cpu) stats.cpu_stats = cpu;
  const memory = directoryOf("memory");
  if (memory) stats.memory_stats = readMemory(memory);
  const pids = directoryOf("pids");
  if (pids) stats.pids_stats = readPids(pids);
  const blkio = directoryOf("blkio");
  if (blkio) stats.blkio_stats = readBlkio(blkio);
  return stats;
}

function readCpu(directoryOf: DirectoryOf): PartialStats["cpu_stats"] {
  const accounting = directoryOf("cpuacct");
  if (!accounting) return undefined;
  const perCpu = numbers(readControl(join(accounting, "cpuacct.usage_percpu")));
  const ticks = readKeyed(join(accounting, "cpuacct.stat"));
  const cpu = directoryOf("cpu");
  const throttling = cpu ? readKeyed(join(cpu, "cpu.stat")) : {};
  return {
    cpu_usage: {
      total_usage: Number(readControl(join(accounting, "cpuacct.usage")) ?? 0),
      percpu_usage: perCpu,
      usage_in_kernelmode: (ticks["system"] ?? 0) * nanosecondsPerTick,
      usage_in_usermode: (ticks["user"] ?? 0) * nanosecondsPerTick,
    },
    system_cpu_usage: systemCpuUsage(),
    online_cpus: onlineCpus(),
    throttling_data: {
      ...noThrottling,
      periods: throttling["nr_periods"] ?? 0,
      throttled_periods: throttling["nr_throttled"] ?? 0,
      throttled_time: throttling["throttled_time"] ?? 0,
    },
  };
}

function readMemory(directory: string): NonNullable<PartialStats["memory_stats"]> {
  const value = (name: string): number => Number(readControl(join(directory, name)) ?? 0);
  return {
    usage: value("memory.usage_in_bytes"),
    max_usage: value("memory.max_usage_in_bytes"),
    stats: readKeyed(join(directory, "memory.stat")),
    failcnt: value("memory.failcnt"),
    limit: readMemoryLimit(readControl(join(directory, "memory.limit_in_bytes"))),
  };
}

export function readPids(directory: string): NonNullable<PartialStats["pids_stats"]> {
  const current = readControl(join(directory, "pids.current"));
  const limit = readControl(join(directory, "pids.max")) ?? "max";
  return { ...(current ? { current: Number(current) } : {}), ...(limit === "max" ? {} : { limit: Number(limit) }) };
}

function readBlkio(directory: string): NonNullable<PartialStats["blkio_stats"]> {
  // BFQ counts when it is the scheduler; the throttling layer counts everything else.
  const either = (name: string): BlkioEntry[] => {
    const entries = readEntries(join(directory, `blkio.bfq.${name}`));
    return entries.length > 0 ? entries : readEntries(join(directory, `blkio.throttle.${name}`));
  };
  return {
    ...emptyBlkio(),
    io_service_bytes_recursive: either("io_service_bytes_recursive"),
    io_serviced_recursive: either("io_serviced_recursive"),
    io_queue_recursive: readEntries(join(directory, "blkio.bfq.io_queued_recursive")),
    io_service_time_recursive: readEntries(join(directory, "blkio.bfq.io_service_time_recursive")),
    io_wait_time_recursive: readEntries(join(directory, "blkio.bfq.io_wait_time_recursive")),
    io_merged_recursive: readEntries(join(directory, "blkio.bfq.io_merged_recursive")),
    io_time_recursive: readEntries(join(directory, "blkio.bfq.time_recursive")),
    sectors_recursive: readEntries(join(directory, "blkio.bfq.sectors_recursive")),
  };
}

/** `8:0 Read 4096` and `8:0 7` lines; the sum over all devices at the end is left out. */
function readEntries(file: string): BlkioEntry[] {
  const entries: BlkioEntry[] = [];
  for (const line of readControl(file)?.split("\n") ?? []) {
    const [, major, minor, op = "", value] = /^(\d+):(\d+) (?:([A-Za-z]+) )?(\d+)$/.exec(line) ?? [];
    if (value !== undefined) entries.push({ major: Number(major), minor: Number(minor), op, value: Number(value) });
  }
  return entries;
}

function numbers(text = ""): number[] {
  return text.split(" ").filter(Boolean).map(Number);
}
