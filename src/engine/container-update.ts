import { EngineError } from "../common/index.ts";
import { limitsOf } from "./container-spec.ts";
import type { ContainerUpdate } from "./contract.ts";
import { cgroupPathOf, publishContainerEvent, type Core } from "./core.ts";
import type { LiveContainer } from "./live-container.ts";

/** Fields that `update` may change; a container's devices and ulimits are decided at its start. */
const updatable = [
  "CpuShares",
  "NanoCpus",
  "Memory",
  "MemoryReservation",
  "MemorySwap",
  "BlkioWeight",
  "CpuPeriod",
  "CpuQuota",
  "CpusetCpus",
  "CpusetMems",
  "PidsLimit",
] as const;

/** Changes limits, in the kernel first when it runs, then in the record. A zero or absent field stays as it is. */
export function updateContainer(core: Core, container: LiveContainer, update: ContainerUpdate): { warnings: string[] } {
  const { record } = container;
  const changes = Object.fromEntries(updatable.filter((name) => update[name]).map((name) => [name, update[name]]));
  if (update.NanoCpus && (record.host.CpuQuota || record.host.CpuPeriod)) {
    throw new EngineError(
      "conflict",
      `Cannot update container ${record.id}: Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set.`,
    );
  }
  if ((update.CpuQuota || update.CpuPeriod) && record.host.NanoCpus) {
    throw new EngineError(
      "conflict",
      `Cannot update container ${record.id}: Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set.`,
    );
  }
  const policy = update.RestartPolicy?.Name ? update.RestartPolicy : undefined;
  if (policy && record.host.AutoRemove && policy.Name !== "no") {
    throw new EngineError(
      "invalidArgument",
      "Restart policy cannot be updated because AutoRemove is enabled for the container",
    );
  }
  if (record.state.phase === "running") core.cgroups.apply(cgroupPathOf(core, record), limitsOf(changes));
  Object.assign(record.host, changes, policy ? { RestartPolicy: policy } : {});
  core.store.save(record);
  publishContainerEvent(core, record, { action: "update" });
  return { warnings: [] };
}
