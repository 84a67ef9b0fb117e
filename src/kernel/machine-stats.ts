import { readFileSync } from "node:fs";
import { totalmem } from "node:os";
import type { CgroupStats } from "./cgroups.ts";

/** /proc/stat counts in USER_HZ, 100 on every architecture that is supported. */
const nanosecondsPerTick = 10_000_000;

export const noThrottling = { periods: 0, throttled_periods: 0, throttled_time: 0 };

/** CPU time of the whole machine since boot in nanoseconds, idle included: Docker's system_cpu_usage. */
export function systemCpuUsage(): number {
  const [line = ""] = readFileSync("/proc/stat", "utf8").split("\n", 1);
  // user nice system idle iowait irq softirq; steal and guest are not the machine's, or counted already.
  const ticks = line.split(/\s+/).slice(1, 8).map(Number);
  return ticks.reduce((sum, value) => sum + value, 0) * nanosecondsPerTick;
}

/** CPUs that are online: `0-3,6` in /sys/devices/system/cpu/online is 5. */
export function onlineCpus(): number {
  return countList(readFileSync("/sys/devices/system/cpu/online", "utf8").trim());
}

/** How many numbers a kernel list (`0-2,7`) names. */
function countList(list: string): number {
  return list.split(",").reduce((count, range) => {
    const [first, last = first] = range.split("-");
    return count + Number(last) - Number(first) + 1;
  }, 0);
}

/** A limit file's bytes; the machine's memory where it says `max` or more than the machine has, as Docker shows it. */
export function readMemoryLimit(text: string | undefined): number {
  const limit = text === undefined || text === "max" ? Infinity : Number(text);
  return Math.min(limit, totalmem());
}

export function emptyBlkio(): CgroupStats["blkio_stats"] {
  return {
    io_service_bytes_recursive: [],
    io_serviced_recursive: [],
    io_queue_recursive: [],
    io_service_time_recursive: [],
    io_wait_time_recursive: [],
    io_merged_recursive: [],
    io_time_recursive: [],
    sectors_recursive: [],
  };
}
