import { CgroupTree } from "./cgroup-tree.ts";
import { CgroupV1 } from "./cgroup-v1.ts";
import { CgroupV2 } from "./cgroup-v2.ts";
import { findCgroupMounts, type CgroupMounts } from "./cgroup-mounts.ts";
import type { DeviceRule } from "./device-rules.ts";

/**
 * Limits of one group, in Docker's units. A field that is absent, and 0 where the kernel has no use for 0, changes nothing;
 * -1 means unlimited. docs/flows/cgroups.md lists the file that each becomes.
 */
export interface CgroupLimits {
  /** bytes */
  memory?: number;
  /** bytes of memory and swap together. Absent or 0 in `create`: twice `memory`, as Docker has it; -1: any amount of swap */
  memorySwap?: number;
  /** bytes */
  memoryReservation?: number;
  /** 0–100; v1 only. -1: the parent's */
  memorySwappiness?: number;
  /** v1 only */
  oomKillDisable?: boolean;
  /** 2–262144, 1024 is the kernel's own; becomes a weight on v2 */
  cpuShares?: number;
  /** microseconds of CPU time a period */
  cpuQuota?: number;
  /** microseconds, 1000–1000000 */
  cpuPeriod?: number;
  /** `0-2,7` */
  cpusetCpus?: string;
  cpusetMems?: string;
  /** processes and threads; 0 and -1: unlimited */
  pids?: number;
  /** 10–1000 */
  blkioWeight?: number;
  /** OCI linux.resources.devices, in order, from a group that may do anything */
  devices?: readonly DeviceRule[];
}

/** One row of Docker's blkio arrays. */
export interface BlkioEntry {
  readonly major: number;
  readonly minor: number;
  readonly op: string;
  readonly value: number;
}

/** The parts of Docker's stats JSON that come from control groups and /proc/stat, with its names; times are nanoseconds. */
export interface CgroupStats {
  readonly cpu_stats: {
    readonly cpu_usage: {
      readonly total_usage: number;
      /** v1 only */
      readonly percpu_usage?: number[];
      readonly usage_in_kernelmode: number;
      readonly usage_in_usermode: number;
    };
    /** CPU time of the whole machine since boot */
    readonly system_cpu_usage: number;
    readonly online_cpus: number;
    readonly throttling_data: {
      readonly periods: number;
      readonly throttled_periods: number;
      readonly throttled_time: number;
    };
  };
  /** Empty when there is no memory controller. `limit` is the machine's memory where the group has none. */
  readonly memory_stats: {
    readonly usage?: number;
    /** v1 only */
    readonly max_usage?: number;
    /** `memory.stat` as the kernel has it */
    readonly stats?: Record<string, number>;
    /** v1: how often the limit was hit */
    readonly failcnt?: number;
    readonly limit?: number;
  };
  /** `limit` is absent when unlimited, as in Docker's JSON. */
  readonly pids_stats: { readonly current?: number; readonly limit?: number };
  readonly blkio_stats: {
    readonly io_service_bytes_recursive: BlkioEntry[];
    readonly io_serviced_recursive: BlkioEntry[];
    readonly io_queue_recursive: BlkioEntry[];
    readonly io_service_time_recursive: BlkioEntry[];
    readonly io_wait_time_recursive: BlkioEntry[];
    readonly io_merged_recursive: BlkioEntry[];
    readonly io_time_recursive: BlkioEntry[];
    readonly sectors_recursive: BlkioEntry[];
  };
}

/**
 * Control groups of this machine, whether v1, v2 or hybrid: a group is one path below every mounted hierarchy.
 *
 *     const groups = openCgroups();
 *     const directories = groups.create("/vitrine/4f…", { memory: 512 << 20, pids: 100 });   // processes write 0 to cgroup.procs
 *     groups.apply("/vitrine/4f…", { cpuQuota: 20000 });                                      // update of a running one
 *     await groups.killAll("/vitrine/4f…");
 *     await groups.remove("/vitrine/4f…");
 *
 * Paths are absolute below the mounts' roots, without `.`, `..` or an empty part (invalidArgument).
 */
export interface Cgroups {
  readonly support: CgroupSupport;
  /**
   * Makes the group in every hierarchy, with its parents, and sets its limits. Returns its directories, for `join-cgroup`. All or
   * nothing: after a failure no group of that path is left. Throws unsupported naming the controller when a limit has none,
   * conflict when a group with processes is there, invalidArgument when the kernel refuses a value.
   */
  create(path: string, limits: CgroupLimits): string[];
  /** Changes limits of a group; what is not asked for stays. */
  apply(path: string, limits: CgroupLimits): void;
  /** Resolves when every process is stopped. Throws unavailable, thawed again, when that takes over two seconds. */
  freeze(path: string): Promise<void>;
  thaw(path: string): Promise<void>;
  /** Process ids in the group and below it; empty when it is gone. */
  processes(path: string): number[];
  /** SIGKILL to everything in the group and below it, frozen or not; resolves when the kernel has none of them running. */
  killAll(path: string): Promise<void>;
  /** Removes the group and those below it. Goes on over failures, then throws the first. A group that is gone is no error. */
  remove(path: string): Promise<void>;
  /** The values people know, by file name, as the kernel says them. */
  read(path: string): Record<string, string>;
  stats(path: string): CgroupStats;
  /** File with an `oom_kill` line: v1 `memory.oom_control`, v2 `memory.events`; undefined without a memory controller. */
  oomControlFile(path: string): string | undefined;
  /** Paths of the groups directly below a path, in any hierarchy. */
  list(prefix: string): string[];
  /** Makes a group without limits, or finds it, and returns its directories. */
  monitorDirectories(path: string): string[];
  /** controller → directory of that group; `unified` and `systemd` for hierarchies that have no controllers */
  directories(path: string): Record<string, string>;
}

export interface CgroupSupport {
  readonly version: "v1" | "v2" | "hybrid";
  /** What can be limited, by the kernel's names (`cpu`, `memory`, v1 `blkio`, v2 `io`, …), sorted. */
  readonly controllers: string[];
  /** Whether memory and swap are counted together (v1) or swap apart (v2), so that `memorySwap` has an effect. */
  readonly swapAccounting: boolean;
}

export interface OpenCgroupsOptions {
  /** Told once a sentence what the kernel lacks and the engine goes on without. */
  readonly onWarning?: (message: string) => void;
  readonly mounts?: CgroupMounts;
}

/** Finds the mounted hierarchies. Throws unsupported when there are none. */
export function openCgroups(options: OpenCgroupsOptions = {}): Cgroups {
  const { mounts = findCgroupMounts() } = options;
  const told = new Set<string>();
  const warn = (message: string): void => {
    if (told.has(message)) return;
    told.add(message);
    options.onWarning?.(message);
  };
  return new CgroupTree({
    mounts,
    v1: mounts.v1.size > 0 || mounts.named.length > 0 ? new CgroupV1(mounts, warn) : undefined,
    v2: mounts.unified ? new CgroupV2(mounts.unified, warn) : undefined,
  });
}
