import { existsSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { EngineError } from "../common/index.ts";
import { isErrno, makeGroup, readControl, writeControl, writeControls } from "./cgroup-files.ts";
import { type CgroupMounts, usedControllers } from "./cgroup-mounts.ts";
import type { CgroupPart, PartialStats } from "./cgroup-part.ts";
import { readV1Stats } from "./cgroup-v1-stats.ts";
import type { CgroupLimits } from "./cgroups.ts";
import {
  type DevicePolicy,
  type DeviceRule,
  devicePolicy,
  formatException,
  openPolicy,
  parseDeviceList,
} from "./device-rules.ts";
import { waitForFreezer } from "./freezer.ts";

/** Values worth showing, by controller. */
const shownFiles: Readonly<Record<string, readonly string[]>> = {
  memory: [
    "memory.limit_in_bytes",
    "memory.memsw.limit_in_bytes",
    "memory.soft_limit_in_bytes",
    "memory.swappiness",
    "memory.usage_in_bytes",
    "memory.max_usage_in_bytes",
    "memory.failcnt",
    "memory.oom_control",
  ],
  cpu: ["cpu.shares", "cpu.cfs_period_us", "cpu.cfs_quota_us", "cpu.stat"],
  cpuacct: ["cpuacct.usage"],
  cpuset: ["cpuset.cpus", "cpuset.mems"],
  pids: ["pids.max", "pids.current"],
  blkio: ["blkio.weight", "blkio.bfq.weight"],
  devices: ["devices.list"],
  freezer: ["freezer.state"],
};

/** The v1 hierarchies: Documentation/admin-guide/cgroup-v1. */
export class CgroupV1 implements CgroupPart {
  readonly controllers: ReadonlySet<string>;
  /** Mount points in which groups are made, each once. */
  private readonly roots: readonly string[];

  constructor(
    private readonly mounts: CgroupMounts,
    private readonly warn: (message: string) => void,
  ) {
    this.controllers = new Set(usedControllers.filter((name) => mounts.v1.has(name)));
    this.roots = [...new Set([...this.controllers].map((name) => this.root(name)).concat(mounts.named))];
  }

  make(path: string, made: string[]): void {
    const cpuset = this.mounts.v1.get("cpuset");
    for (const root of this.roots) {
      const directory = root + path;
      if (makeWithParents(root, directory)) made.push(directory);
      if (root === cpuset) fillCpuset(root, directory);
    }
  }

  directories(path: string): Record<string, string> {
    const entries = [...this.controllers].map((name) => [name, this.root(name) + path]);
    return Object.fromEntries([...entries, ...this.mounts.named.map((root) => [basename(root), root + path])]);
  }

  apply(path: string, controller: string, limits: CgroupLimits): void {
    const directory = this.root(controller) + path;
    switch (controller) {
      case "memory":
        return this.applyMemory(directory, limits);
      case "cpu":
        return applyCpu(directory, limits);
      case "cpuset":
        return applyCpuset(directory, limits);
      case "pids":
        return writeControl(join(directory, "pids.max"), limits.pids! > 0 ? String(limits.pids) : "max");
      case "blkio":
        return applyWeight(directory, limits.blkioWeight!);
      case "devices":
        return applyDevices(directory, limits.devices!);
    }
  }

  async freeze(path: string, frozen: boolean): Promise<void> {
    const file = join(this.root("freezer") + path, "freezer.state");
    const wanted = frozen ? "FROZEN" : "THAWED";
    writeControl(file, wanted);
    await waitForFreezer(path, {
      isDone: () => readControl(file) === wanted,
      // A process that forks while the freezer walks may escape it: asking again catches the child.
      again: () => writeControl(file, wanted),
      undo: () => writeControl(file, "THAWED"),
    });
  }

  read(path: string): Record<string, string> {
    const values: Record<string, string> = {};
    for (const controller of this.controllers) {
      for (const file of shownFiles[controller] ?? []) {
        const value = readControl(join(this.root(controller) + path, file));
        if (value !== undefined) values[file] = value;
      }
    }
    return values;
  }

  stats(path: string): PartialStats {
    return readV1Stats((controller) => {
      const root = this.mounts.v1.get(controller);
      return root === undefined ? undefined : root + path;
    });
  }

  oomControlFile(path: string): string {
    return join(this.root("memory") + path, "memory.oom_control");
  }

  private root(controller: string): string {
    const root = this.mounts.v1.get(controller);
    if (root === undefined) throw new EngineError("unsupported", `The ${controller} controller is not mounted`);
    return root;
  }

  private applyMemory(directory: string, limits: CgroupLimits): void {
    this.applyMemoryLimits(directory, limits);
    const { memoryReservation, memorySwappiness, oomKillDisable } = limits;
    if (memoryReservation) writeControl(join(directory, "memory.soft_limit_in_bytes"), String(memoryReservation));
    if (memorySwappiness !== undefined) writeControl(join(directory, "memory.swappiness"), String(memorySwappiness));
    if (oomKillDisable) writeControl(join(directory, "memory.oom_control"), "1");
  }

  private applyMemoryLimits(directory: string, { memory, memorySwap }: CgroupLimits): void {
    const swapFile = join(directory, "memory.memsw.limit_in_bytes");
    // Unlimited memory with a limit on memory and swap together would be no unlimited memory.
    let swap = memory === -1 && !memorySwap ? -1 : memorySwap;
    if (swap && !existsSync(swapFile)) {
      this.warn("The kernel does not account for swap: memory is limited without swap");
      swap = undefined;
    }
    const setMemory = (): void => {
      if (memory) writeMemory(join(directory, "memory.limit_in_bytes"), memory);
    };
    const setSwap = (): void => {
      if (swap) writeMemory(swapFile, swap);
    };
    // The kernel wants memory ≤ memory and swap at every moment: when raising, swap goes first.
    const raising = swap === -1 || (swap && swap > Number(readControl(join(directory, "memory.limit_in_bytes"))));
    for (const set of raising ? [setSwap, setMemory] : [setMemory, setSwap]) set();
  }
}

function makeWithParents(root: string, directory: string): boolean {
  try {
    return makeGroup(directory);
  } catch (error) {
    if (!isErrno(error, "ENOENT") || directory === root) throw error;
    makeWithParents(root, dirname(directory));
    return makeGroup(directory);
  }
}

/** A v1 cpuset is born empty and takes no process until it has CPUs and memory nodes: those of its parent. */
function fillCpuset(root: string, directory: string): void {
  for (const file of ["cpuset.cpus", "cpuset.mems"]) inheritCpuset(root, directory, file);
}

function inheritCpuset(root: string, directory: string, file: string): string {
  const present = readControl(join(directory, file)) ?? "";
  if (present !== "" || directory === root) return present;
  const inherited = inheritCpuset(root, dirname(directory), file);
  writeControl(join(directory, file), inherited);
  return inherited;
}

function writeMemory(file: string, value: number): void {
  try {
    writeControl(file, String(value));
  } catch (error) {
    if (!isErrno(error, "EBUSY")) throw error;
    const usage = readControl(join(dirname(file), "memory.usage_in_bytes"));
    throw new EngineError(
      "conflict",
      `Cannot set the memory limit to ${value}: ${usage} bytes are in use and cannot be freed`,
      {
        cause: error,
      },
    );
  }
}

function applyCpu(directory: string, { cpuShares, cpuPeriod, cpuQuota }: CgroupLimits): void {
  if (cpuShares) writeControl(join(directory, "cpu.shares"), String(cpuShares));
  const setPeriod = (): void => writeControl(join(directory, "cpu.cfs_period_us"), String(cpuPeriod));
  let periodIsLeft = false;
  if (cpuPeriod) {
    try {
      setPeriod();
    } catch (error) {
      // The old quota over a shorter period may pass what the parent allows: then the new quota goes first.
      if (!isErrno(error, "EINVAL") || !cpuQuota) throw error;
      periodIsLeft = true;
    }
  }
  if (cpuQuota) writeControl(join(directory, "cpu.cfs_quota_us"), String(Math.max(cpuQuota, -1)));
  if (periodIsLeft) setPeriod();
}

function applyCpuset(directory: string, { cpusetCpus, cpusetMems }: CgroupLimits): void {
  if (cpusetCpus) writeControl(join(directory, "cpuset.cpus"), cpusetCpus);
  if (cpusetMems) writeControl(join(directory, "cpuset.mems"), cpusetMems);
}

function applyWeight(directory: string, weight: number): void {
  // blkio.weight went with the CFQ scheduler in Linux 5.0; BFQ has the same under its own name.
  for (const name of ["blkio.weight", "blkio.bfq.weight"]) {
    if (existsSync(join(directory, name))) return writeControl(join(directory, name), String(weight));
  }
  throw new EngineError(
    "unsupported",
    `Cannot set a block I/O weight of ${weight}: this kernel has no scheduler for it`,
  );
}

/**
 * Writes only what differs from the present list, so that an update takes no device away that stays allowed. The exceptions of a group that allows by
 * default cannot be read back: such a group starts anew.
 */
function applyDevices(directory: string, rules: readonly DeviceRule[]): void {
  const policy = devicePolicy(rules);
  const present = parseDeviceList(readControl(join(directory, "devices.list")) ?? "a *:* rwm");
  const sameDefault = !policy.defaultAllow && !present.defaultAllow;
  const [granting, refusing] = policy.defaultAllow
    ? ["devices.deny", "devices.allow"]
    : ["devices.allow", "devices.deny"];
  if (!sameDefault) writeControl(join(directory, refusing), "a");
  const base = sameDefault ? present : { ...openPolicy, exceptions: [] };
  writeControls(join(directory, granting), missingFrom(base, policy));
  if (sameDefault) writeControls(join(directory, refusing), missingFrom(policy, base));
}

/** Exceptions of `wanted`, as lines, that `policy` does not hold. */
function missingFrom(policy: DevicePolicy, wanted: DevicePolicy): string[] {
  const lines: string[] = [];
  for (const exception of wanted.exceptions) {
    const { type, major, minor } = exception;
    const same = policy.exceptions.find((one) => one.type === type && one.major === major && one.minor === minor);
    const access = exception.access & ~(same?.access ?? 0);
    if (access !== 0) lines.push(formatException({ ...exception, access }));
  }
  return lines;
}
