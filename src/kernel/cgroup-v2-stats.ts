import { join } from "node:path";
import { readControl, readKeyed } from "./cgroup-files.ts";
import type { PartialStats } from "./cgroup-part.ts";
import { readPids } from "./cgroup-v1-stats.ts";
import type { BlkioEntry } from "./cgroups.ts";
import { emptyBlkio, onlineCpus, readMemoryLimit, systemCpuUsage } from "./machine-stats.ts";

const nanosecondsPerMicrosecond = 1000;

/** What the unified hierarchy can tell; a controller that it has not leaves its part out, for v1 to fill. */
export function readV2Stats(directory: string, controllers: readonly string[]): PartialStats {
  const stats: PartialStats = {};
  if (controllers.includes("cpu")) stats.cpu_stats = readCpu(directory);
  if (controllers.includes("memory")) {
    stats.memory_stats = {
      usage: Number(readControl(join(directory, "memory.current")) ?? 0),
      stats: readKeyed(join(directory, "memory.stat")),
      limit: readMemoryLimit(readControl(join(directory, "memory.max"))),
    };
  }
  if (controllers.includes("pids")) stats.pids_stats = readPids(directory);
  if (controllers.includes("io")) stats.blkio_stats = { ...emptyBlkio(), ...readIo(directory) };
  return stats;
}

function readCpu(directory: string): NonNullable<PartialStats["cpu_stats"]> {
  const values = readKeyed(join(directory, "cpu.stat"));
  const nanoseconds = (key: string): number => (values[key] ?? 0) * nanosecondsPerMicrosecond;
  return {
    cpu_usage: {
      total_usage: nanoseconds("usage_usec"),
      usage_in_kernelmode: nanoseconds("system_usec"),
      usage_in_usermode: nanoseconds("user_usec"),
    },
    system_cpu_usage: systemCpuUsage(),
    online_cpus: onlineCpus(),
    throttling_data: {
      periods: values["nr_periods"] ?? 0,
      throttled_periods: values["nr_throttled"] ?? 0,
      throttled_time: nanoseconds("throttled_usec"),
    },
  };
}

/** `8:0 rbytes=90 wbytes=0 rios=3 wios=0 …` lines; Docker fills these two arrays on v2, with lower-case words. */
function readIo(
  directory: string,
): Pick<NonNullable<PartialStats["blkio_stats"]>, "io_service_bytes_recursive" | "io_serviced_recursive"> {
  const bytes: BlkioEntry[] = [];
  const operations: BlkioEntry[] = [];
  for (const line of readControl(join(directory, "io.stat"))?.split("\n") ?? []) {
    const [device = "", ...pairs] = line.split(" ");
    const [major, minor] = device.split(":").map(Number);
    if (major === undefined || minor === undefined) continue;
    const values = Object.fromEntries(pairs.map((pair) => pair.split("=")));
    const entry = (op: string, key: string): BlkioEntry => ({ major, minor, op, value: Number(values[key] ?? 0) });
    bytes.push(entry("read", "rbytes"), entry("write", "wbytes"));
    operations.push(entry("read", "rios"), entry("write", "wios"));
  }
  return { io_service_bytes_recursive: bytes, io_serviced_recursive: operations };
}
