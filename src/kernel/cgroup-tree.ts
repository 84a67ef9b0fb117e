import { EngineError } from "../common/index.ts";
import {
  childGroups,
  groupProcesses,
  isErrno,
  readControl,
  removeGroup,
  removeGroupNow,
  writeControl,
} from "./cgroup-files.ts";
import { checkGroupPath, requestedLimits, withDefaultSwap } from "./cgroup-limits.ts";
import type { CgroupMounts } from "./cgroup-mounts.ts";
import type { CgroupPart } from "./cgroup-part.ts";
import type { CgroupLimits, Cgroups, CgroupStats, CgroupSupport } from "./cgroups.ts";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { emptyBlkio, noThrottling, onlineCpus, systemCpuUsage } from "./machine-stats.ts";

/** How long a group may have processes after they were sent SIGKILL: an uninterruptible wait is not ended by it. */
const killLimitMs = 10_000;

interface TreeOptions {
  readonly mounts: CgroupMounts;
  readonly v1: CgroupPart | undefined;
  readonly v2: CgroupPart | undefined;
}

/** A group as one path below all hierarchies, whatever version each is of. */
export class CgroupTree implements Cgroups {
  readonly support: CgroupSupport;
  /** v1 first: where both could (freezer, devices), the mounted v1 controller is what people look at. */
  private readonly parts: readonly CgroupPart[];

  constructor(options: TreeOptions) {
    const { mounts, v1, v2 } = options;
    this.parts = [v1, v2].filter((part) => part !== undefined);
    if (this.parts.length === 0) {
      throw new EngineError("unsupported", "No control groups are mounted: mount cgroup2 at /sys/fs/cgroup");
    }
    const hasControllers = mounts.v1.size > 0;
    this.support = {
      version: !hasControllers ? "v2" : v2 ? "hybrid" : "v1",
      controllers: [...new Set([...mounts.v1.keys(), ...(mounts.unified?.controllers ?? [])])].sort(),
      swapAccounting: accountsForSwap(mounts),
    };
  }

  create(path: string, limits: CgroupLimits): string[] {
    const group = checkGroupPath(path);
    const requested = requestedLimits(withDefaultSwap(limits));
    const made: string[] = [];
    try {
      this.refuseUnsupported(requested.keys());
      this.makeAfresh(group, made);
      this.applyAll(group, requested);
    } catch (error) {
      for (const directory of made) removeGroupNow(directory);
      throw asRefusal(error);
    }
    return this.allDirectories(group);
  }

  apply(path: string, limits: CgroupLimits): void {
    const group = checkGroupPath(path);
    const requested = requestedLimits(limits);
    try {
      this.refuseUnsupported(requested.keys());
      this.applyAll(group, requested);
    } catch (error) {
      throw asRefusal(error);
    }
  }

  async freeze(path: string): Promise<void> {
    await this.partWith("freezer").freeze(checkGroupPath(path), true);
  }

  async thaw(path: string): Promise<void> {
    await this.partWith("freezer").freeze(checkGroupPath(path), false);
  }

  processes(path: string): number[] {
    const group = checkGroupPath(path);
    const processes = new Set<number>();
    // A process is in every hierarchy, but one that is just joining is only in some.
    for (const directory of this.allDirectories(group)) for (const one of groupProcesses(directory)) processes.add(one);
    return [...processes].sort((a, b) => a - b);
  }

  async killAll(path: string): Promise<void> {
    const group = checkGroupPath(path);
    const deadline = performance.now() + killLimitMs;
    for (let pauseMs = 1; ; pauseMs = Math.min(pauseMs * 2, 50)) {
      const processes = this.processes(group);
      if (processes.length === 0) return;
      if (processes.includes(process.pid)) {
        throw new EngineError("conflict", `Cannot kill the control group "${path}": the engine itself is in it`);
      }
      if (performance.now() > deadline) {
        throw new EngineError(
          "unavailable",
          `Cannot kill process ${processes.join(", ")} of the control group "${path}"`,
        );
      }
      this.killOnce(group, processes);
      await Bun.sleep(pauseMs);
    }
  }

  async remove(path: string): Promise<void> {
    const group = checkGroupPath(path);
    const results = await Promise.allSettled(this.allDirectories(group).map(removeGroup));
    for (const result of results) if (result.status === "rejected") throw result.reason;
  }

  read(path: string): Record<string, string> {
    const group = checkGroupPath(path);
    return Object.assign({}, ...[...this.parts].reverse().map((part) => part.read(group)));
  }

  stats(path: string): CgroupStats {
    const group = checkGroupPath(path);
    return {
      cpu_stats: {
        cpu_usage: { total_usage: 0, usage_in_kernelmode: 0, usage_in_usermode: 0 },
        system_cpu_usage: systemCpuUsage(),
        online_cpus: onlineCpus(),
        throttling_data: noThrottling,
      },
      memory_stats: {},
      pids_stats: {},
      blkio_stats: emptyBlkio(),
      ...Object.assign({}, ...this.parts.map((part) => part.stats(group))),
    };
  }

  oomControlFile(path: string): string | undefined {
    const part = this.parts.find((one) => one.controllers.has("memory"));
    return part?.oomControlFile(checkGroupPath(path));
  }

  list(prefix: string): string[] {
    const group = checkGroupPath(prefix);
    const names = new Set(this.allDirectories(group).flatMap(childGroups));
    return [...names].sort().map((name) => `${group}/${name}`);
  }

  monitorDirectories(path: string): string[] {
    const group = checkGroupPath(path);
    for (const part of this.parts) part.make(group, []);
    return this.allDirectories(group);
  }

  directories(path: string): Record<string, string> {
    const group = checkGroupPath(path);
    return Object.assign({}, ...this.parts.map((part) => part.directories(group)));
  }

  private allDirectories(group: string): string[] {
    return [...new Set(this.parts.flatMap((part) => Object.values(part.directories(group))))];
  }

  private partWith(controller: string): CgroupPart {
    const part = this.parts.find((one) => one.controllers.has(controller));
    if (part) return part;
    throw new EngineError("unsupported", `The kernel's ${controller} controller is not mounted or not enabled`);
  }

  private refuseUnsupported(controllers: Iterable<string>): void {
    for (const controller of controllers) this.partWith(controller);
  }

  private applyAll(group: string, requested: ReadonlyMap<string, CgroupLimits>): void {
    for (const [controller, limits] of requested) {
      const part = this.partWith(controller);
      try {
        part.apply(group, controller, limits);
      } catch (error) {
        if (!isErrno(error, "ENOENT")) throw error;
        const directory = Object.values(part.directories(group)).find(existsSync);
        throw directory === undefined
          ? new EngineError("notFound", `No such control group: "${group}"`, { cause: error })
          : new EngineError("unsupported", `Cannot limit ${controller}: ${(error as EngineError).message}`, {
              cause: error,
            });
      }
    }
  }

  /** A group that a lost start left behind would pass its limits on: it is made anew, unless something lives in it. */
  private makeAfresh(group: string, made: string[]): void {
    for (const part of this.parts) part.make(group, made);
    const leftovers = this.allDirectories(group).filter((directory) => !made.includes(directory));
    if (leftovers.length === 0) return;
    for (const directory of leftovers) {
      if (removeGroupNow(directory)) continue;
      throw new EngineError("conflict", `Cannot make the control group "${group}": "${directory}" is in use`);
    }
    for (const part of this.parts) part.make(group, made);
  }

  private killOnce(group: string, processes: readonly number[]): void {
    // One write reaches even those that fork meanwhile (Linux 5.14, also in a hierarchy without controllers).
    for (const directory of Object.values(this.parts.at(-1)?.directories(group) ?? {})) {
      const file = join(directory, "cgroup.kill");
      if (existsSync(file)) writeControl(file, "1");
    }
    for (const pid of processes) {
      try {
        process.kill(pid, "SIGKILL");
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
      }
    }
    const freezer = this.parts[0]?.directories(group)["freezer"];
    if (freezer !== undefined) thawAll(freezer);
  }
}

/** A process that v1 froze gets its SIGKILL only when thawed; each group below has its own state. */
function thawAll(directory: string): void {
  const file = join(directory, "freezer.state");
  const state = readControl(file);
  if (state !== undefined && state !== "THAWED") writeControl(file, "THAWED");
  for (const child of childGroups(directory)) thawAll(join(directory, child));
}

function accountsForSwap({ v1, unified }: CgroupMounts): boolean {
  const memory = v1.get("memory");
  if (memory) return existsSync(join(memory, "memory.memsw.limit_in_bytes"));
  // The root group has no limits to look at; a kernel without swap has no such line.
  return unified !== undefined && unified.controllers.includes("memory") && existsSync("/proc/swaps");
}

/** The kernel's refusal of a value is the caller's mistake. */
function asRefusal(error: unknown): unknown {
  if (!isErrno(error, "EINVAL", "ERANGE", "E2BIG", "ENODEV")) return error;
  const { message, data } = error as EngineError;
  return new EngineError("invalidArgument", message, { cause: error, data });
}
