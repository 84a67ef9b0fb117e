import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { EngineError } from "../common/index.ts";
import { isErrno, makeGroup, readControl, writeControl } from "./cgroup-files.ts";
import { cpuWeight, ioWeight } from "./cgroup-limits.ts";
import { type CgroupMounts, usedControllers } from "./cgroup-mounts.ts";
import type { CgroupPart, PartialStats } from "./cgroup-part.ts";
import { readV2Stats } from "./cgroup-v2-stats.ts";
import type { CgroupLimits } from "./cgroups.ts";
import { attachDevicePolicy } from "./device-program.ts";
import { devicePolicy } from "./device-rules.ts";
import { waitForFreezer } from "./freezer.ts";

/** Values worth showing; files of controllers that the group has not are left out. */
const shownFiles = [
  "memory.max",
  "memory.swap.max",
  "memory.low",
  "memory.current",
  "memory.peak",
  "memory.events",
  "cpu.weight",
  "cpu.max",
  "cpu.stat",
  "cpuset.cpus",
  "cpuset.cpus.effective",
  "cpuset.mems",
  "cpuset.mems.effective",
  "pids.max",
  "pids.current",
  "io.weight",
  "io.bfq.weight",
  "cgroup.freeze",
];

/** The unified hierarchy: Documentation/admin-guide/cgroup-v2.rst. */
export class CgroupV2 implements CgroupPart {
  readonly controllers: ReadonlySet<string>;
  private readonly root: string;
  /** Controllers that are handed down to groups, by the kernel's names. */
  private readonly handedDown: readonly string[];

  constructor(
    unified: NonNullable<CgroupMounts["unified"]>,
    private readonly warn: (message: string) => void,
  ) {
    this.root = unified.directory;
    this.handedDown = unified.controllers.filter((name) => (usedControllers as readonly string[]).includes(name));
    // cpuacct came into every group, devices into BPF, the freezer into the core.
    const names = [...this.handedDown.map((name) => (name === "io" ? "blkio" : name)), "devices", "freezer"];
    this.controllers = new Set(names);
  }

  make(path: string, made: string[]): void {
    const directory = this.root + path;
    this.handDownTo(dirname(directory));
    if (makeGroup(directory)) made.push(directory);
  }

  directories(path: string): Record<string, string> {
    return { unified: this.root + path };
  }

  apply(path: string, controller: string, limits: CgroupLimits): void {
    const directory = this.root + path;
    switch (controller) {
      case "memory":
        return this.applyMemory(directory, limits);
      case "cpu":
        return applyCpu(directory, limits);
      case "cpuset":
        if (limits.cpusetCpus) writeControl(join(directory, "cpuset.cpus"), limits.cpusetCpus);
        if (limits.cpusetMems) writeControl(join(directory, "cpuset.mems"), limits.cpusetMems);
        return;
      case "pids":
        return writeControl(join(directory, "pids.max"), limits.pids! > 0 ? String(limits.pids) : "max");
      case "blkio":
        return applyWeight(directory, limits.blkioWeight!);
      case "devices":
        return attachDevicePolicy(directory, devicePolicy(limits.devices!));
    }
  }

  async freeze(path: string, frozen: boolean): Promise<void> {
    const file = join(this.root + path, "cgroup.freeze");
    const events = join(this.root + path, "cgroup.events");
    const wanted = frozen ? "1" : "0";
    writeControl(file, wanted);
    await waitForFreezer(path, {
      isDone: () => readControl(events)?.includes(`frozen ${wanted}`) ?? false,
      again: () => undefined,
      undo: () => writeControl(file, "0"),
    });
  }

  read(path: string): Record<string, string> {
    const values: Record<string, string> = {};
    // Without controllers of its own (hybrid) what it says is said better by v1's files.
    if (this.handedDown.length === 0) return values;
    for (const file of shownFiles) {
      const value = readControl(join(this.root + path, file));
      if (value !== undefined) values[file] = value;
    }
    return values;
  }

  stats(path: string): PartialStats {
    return readV2Stats(this.root + path, this.handedDown);
  }

  oomControlFile(path: string): string {
    return join(this.root + path, "memory.events");
  }

  /** Enables the controllers for the children of a group, from the root down, since a group can only pass on what it got. */
  private handDownTo(directory: string): void {
    const file = join(directory, "cgroup.subtree_control");
    let present = words(readControl(file));
    if (present !== undefined && this.handedDown.every((name) => present?.includes(name))) return;
    if (directory !== this.root) this.handDownTo(dirname(directory));
    if (present === undefined) makeGroup(directory);
    present ??= [];
    const given = words(readControl(join(directory, "cgroup.controllers"))) ?? [];
    const lacking = this.handedDown.filter((name) => !present.includes(name));
    for (const name of lacking.filter((one) => !given.includes(one))) {
      this.warn(`The control group "${directory}" has no ${name} controller to hand down`);
    }
    const enabled = lacking.filter((name) => given.includes(name));
    if (enabled.length > 0) this.enable(directory, enabled);
  }

  private enable(directory: string, names: readonly string[]): void {
    try {
      // All in one write: with cpu and pids alone a group that holds processes would become threaded, and its children unusable.
      writeControl(join(directory, "cgroup.subtree_control"), names.map((name) => `+${name}`).join(" "));
    } catch (error) {
      // Only the root may both hold processes and limit its children.
      if (!isErrno(error, "EBUSY", "ENOTSUP")) throw error;
      this.warn(`The control group "${directory}" cannot hand down ${names.join(", ")}: it holds processes itself`);
    }
  }

  private applyMemory(directory: string, limits: CgroupLimits): void {
    const { memory, memorySwap, memoryReservation, memorySwappiness, oomKillDisable } = limits;
    if (memorySwappiness !== undefined) this.warn("cgroup v2 has no swappiness of a group: it is ignored");
    if (oomKillDisable) this.warn("cgroup v2 cannot disable the OOM killer for a group: it is ignored");
    const swap = swapBytes(directory, memory, memorySwap);
    const swapFile = join(directory, "memory.swap.max");
    if (swap !== undefined && existsSync(swapFile)) writeControl(swapFile, swap);
    else if (swap !== undefined) this.warn("The kernel does not account for swap: memory is limited without swap");
    if (memory) writeControl(join(directory, "memory.max"), memory > 0 ? String(memory) : "max");
    if (memoryReservation) writeControl(join(directory, "memory.low"), String(memoryReservation));
  }
}

function words(text: string | undefined): string[] | undefined {
  return text?.split(" ").filter(Boolean);
}

/** v2 limits swap alone: Docker's sum less the memory. Undefined: nothing is asked. */
function swapBytes(directory: string, memory: number | undefined, sum: number | undefined): string | undefined {
  if (sum === -1 || (memory === -1 && !sum)) return "max";
  if (!sum) return undefined;
  const limit = memory ? String(memory) : readControl(join(directory, "memory.max"));
  if (limit === undefined || limit === "max" || limit === "-1") {
    throw new EngineError(
      "invalidArgument",
      "You should always set the Memory limit when using Memoryswap limit, see usage",
    );
  }
  if (sum < Number(limit)) {
    throw new EngineError("invalidArgument", "Minimum memoryswap limit should be larger than memory limit, see usage");
  }
  return String(sum - Number(limit));
}

function applyCpu(directory: string, { cpuShares, cpuQuota, cpuPeriod }: CgroupLimits): void {
  if (cpuShares) writeControl(join(directory, "cpu.weight"), String(cpuWeight(cpuShares)));
  if (!cpuQuota && !cpuPeriod) return;
  const file = join(directory, "cpu.max");
  const [presentQuota, presentPeriod] = readControl(file)?.split(" ") ?? [];
  const quota = cpuQuota ? (cpuQuota > 0 ? String(cpuQuota) : "max") : (presentQuota ?? "max");
  writeControl(file, `${quota} ${cpuPeriod || (presentPeriod ?? 100000)}`);
}

function applyWeight(directory: string, weight: number): void {
  // BFQ has the scale of v1; the kernel's own file has v2's.
  const bfq = join(directory, "io.bfq.weight");
  if (existsSync(bfq)) return writeControl(bfq, String(weight));
  const file = join(directory, "io.weight");
  if (existsSync(file)) return writeControl(file, String(ioWeight(weight)));
  throw new EngineError(
    "unsupported",
    `Cannot set a block I/O weight of ${weight}: this kernel has no scheduler for it`,
  );
}
