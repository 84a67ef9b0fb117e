import { parseSize } from "../../common/index.ts";
import type { Resources } from "../../spec/index.ts";
import type { FlagValues } from "../flag-values.ts";

/** The limits that run, create and update share; 0 and "" mean unlimited or unset. */
export function toResources(flags: FlagValues): Resources {
  return {
    CpuShares: flags.number("cpu-shares"),
    Memory: sizeOf(flags, "memory"),
    NanoCpus: nanoCpus(flags.string("cpus")),
    BlkioWeight: flags.number("blkio-weight"),
    CpuPeriod: flags.number("cpu-period"),
    CpuQuota: flags.number("cpu-quota"),
    CpuRealtimePeriod: flags.number("cpu-rt-period"),
    CpuRealtimeRuntime: flags.number("cpu-rt-runtime"),
    CpusetCpus: flags.string("cpuset-cpus"),
    CpusetMems: flags.string("cpuset-mems"),
    MemoryReservation: sizeOf(flags, "memory-reservation"),
    MemorySwap: sizeOf(flags, "memory-swap"),
    PidsLimit: flags.number("pids-limit"),
  };
}

/** A size flag in bytes; -1 stays -1. */
export function sizeOf(flags: FlagValues, name: string): number {
  const text = flags.string(name);
  if (text === "") return 0;
  return text === "-1" ? -1 : parseSize(text);
}

/** `1.5` CPUs in units of 10⁻⁹; a fraction `3/2` is allowed, as Go's big.Rat reads it. */
function nanoCpus(text: string): number {
  if (text === "") return 0;
  const [whole, divisor] = text.split("/");
  return Math.round((Number(whole) / Number(divisor ?? 1)) * 1e9);
}
