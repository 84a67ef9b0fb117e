import type { DeviceRule, HostConfig, OciResources } from "../spec/index.ts";

const cpuPeriodUs = 100_000;

/** Limits of the container's control group as config-linux.md has them. Values were checked by the engine when it took the request. */
export function resolveResources(host: HostConfig, devices: readonly DeviceRule[]): OciResources {
  const memory = present({
    limit: host.Memory || undefined,
    reservation: host.MemoryReservation || undefined,
    swap: host.MemorySwap || (host.Memory ? host.Memory * 2 : undefined),
    swappiness: host.MemorySwappiness === -1 ? undefined : (host.MemorySwappiness ?? undefined),
    disableOOMKiller: host.OomKillDisable ?? undefined,
  });
  const cpu = present({
    shares: host.CpuShares || undefined,
    quota: host.NanoCpus ? Math.round((host.NanoCpus * cpuPeriodUs) / 1e9) : host.CpuQuota || undefined,
    period: host.NanoCpus ? cpuPeriodUs : host.CpuPeriod || undefined,
    realtimeRuntime: host.CpuRealtimeRuntime || undefined,
    realtimePeriod: host.CpuRealtimePeriod || undefined,
    cpus: host.CpusetCpus || undefined,
    mems: host.CpusetMems || undefined,
  });
  return {
    devices,
    ...(memory && { memory }),
    ...(cpu && { cpu }),
    ...(host.PidsLimit && { pids: { limit: host.PidsLimit } }),
    ...(host.BlkioWeight && { blockIO: { weight: host.BlkioWeight } }),
  };
}

type Present<Values> = { [Key in keyof Values]?: NonNullable<Values[Key]> };

function present<Values extends Record<string, unknown>>(values: Values): Present<Values> | undefined {
  const entries = Object.entries(values).filter(([, value]) => value !== undefined);
  return entries.length > 0 ? (Object.fromEntries(entries) as Present<Values>) : undefined;
}
