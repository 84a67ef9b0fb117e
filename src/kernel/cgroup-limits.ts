import { EngineError } from "../common/index.ts";
import type { CgroupLimits } from "./cgroups.ts";

/** The controller that each limit needs, by v1's name; v2 calls blkio io. */
const controllerOf: Readonly<Record<keyof CgroupLimits, string>> = {
  memory: "memory",
  memorySwap: "memory",
  memoryReservation: "memory",
  memorySwappiness: "memory",
  oomKillDisable: "memory",
  cpuShares: "cpu",
  cpuQuota: "cpu",
  cpuPeriod: "cpu",
  cpusetCpus: "cpuset",
  cpusetMems: "cpuset",
  pids: "pids",
  blkioWeight: "blkio",
  devices: "devices",
};

/** Limits that ask for something, by controller; drops absent ones and Docker's zeros. */
export function requestedLimits(limits: CgroupLimits): Map<string, CgroupLimits> {
  validate(limits);
  const requested = new Map<string, CgroupLimits>();
  for (const name of Object.keys(controllerOf) as (keyof CgroupLimits)[]) {
    if (!isRequest(name, limits[name])) continue;
    const controller = controllerOf[name];
    requested.set(controller, { ...requested.get(controller), [name]: limits[name] });
  }
  return requested;
}

function isRequest(name: keyof CgroupLimits, value: unknown): boolean {
  if (value === undefined || value === null || value === "" || value === false) return false;
  if (name === "memorySwappiness") return value !== -1;
  // A limit of 0 processes is Docker's way to say unlimited; elsewhere 0 says nothing.
  if (value === 0) return name === "pids";
  return true;
}

/** Docker's default: as much swap again as memory, written in full so that an inspection shows what holds. */
export function withDefaultSwap(limits: CgroupLimits): CgroupLimits {
  const { memory, memorySwap } = limits;
  if (!memory || memory < 0 || memorySwap) return limits;
  return { ...limits, memorySwap: memory * 2 };
}

function validate(limits: CgroupLimits): void {
  for (const [name, value] of Object.entries(limits)) {
    if (typeof value === "number" && !Number.isSafeInteger(value))
      refuse(`Invalid limit ${name}: ${value} is not a whole number`);
  }
  const { memory, memorySwap, memorySwappiness, cpuShares, cpuPeriod, cpuQuota, blkioWeight } = limits;
  if (memory && memory > 0 && memorySwap && memorySwap > 0 && memorySwap < memory) {
    refuse("Minimum memoryswap limit should be larger than memory limit, see usage");
  }
  if (memorySwappiness !== undefined && (memorySwappiness < -1 || memorySwappiness > 100)) {
    refuse(`Invalid value: ${memorySwappiness}, valid memory swappiness range is 0-100`);
  }
  if (cpuShares && (cpuShares < 2 || cpuShares > 262144)) {
    refuse(`CPU shares ${cpuShares} are out of range: the kernel takes 2 to 262144`);
  }
  if (cpuPeriod && (cpuPeriod < 1000 || cpuPeriod > 1000000)) {
    refuse("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)");
  }
  if (cpuQuota && cpuQuota > 0 && cpuQuota < 1000) refuse("CPU cfs quota can not be less than 1ms (i.e. 1000)");
  if (blkioWeight && (blkioWeight < 10 || blkioWeight > 1000)) {
    refuse("Range of blkio weight is from 10 to 1000");
  }
}

function refuse(message: string): never {
  throw new EngineError("invalidArgument", message);
}

/**
 * cpu.weight (1–10000, 100 by default) for v1 shares (2–262144, 1024 by default): the quadratic curve through both ends and both
 * defaults that runc uses from 1.3.2 on. The line that it drew before turned the default of 1024 into 39.
 */
export function cpuWeight(shares: number): number {
  if (shares <= 2) return 1;
  if (shares >= 262144) return 10000;
  const exponent = Math.log2(shares);
  return Math.ceil(10 ** ((exponent * exponent + 125 * exponent) / 612 - 7 / 34));
}

/** io.weight (1–10000) for a blkio weight (10–1000), the line that runc and crun use. */
export function ioWeight(weight: number): number {
  return 1 + Math.floor(((weight - 10) * 9999) / 990);
}

/** Checks a group's path and returns it without a trailing slash. */
export function checkGroupPath(path: string): string {
  const parts = path.replace(/\/+$/, "").split("/");
  const [first, ...names] = parts;
  const bad = names.length === 0 || first !== "" || names.some((name) => ["", ".", ".."].includes(name));
  if (bad || /[\0\n]/.test(path)) {
    throw new EngineError(
      "invalidArgument",
      `Invalid control group path ${JSON.stringify(path)}: it must be absolute, without "." or ".."`,
    );
  }
  return parts.join("/");
}
