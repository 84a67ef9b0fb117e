import { existsSync } from "node:fs";
import { join } from "node:path";
import { readControl } from "./cgroup-files.ts";
import { type MountInfo, readMounts } from "./mountinfo.ts";

/** Controllers that some limit of a container is written to; hugetlb, rdma, net_cls and the rest are left alone. */
export const usedControllers = [
  "memory",
  "cpu",
  "cpuacct",
  "cpuset",
  "pids",
  "blkio",
  "io",
  "devices",
  "freezer",
] as const;

/** Where control groups are mounted. */
export interface CgroupMounts {
  /** v1 controller → mount point; controllers mounted together share one. */
  readonly v1: ReadonlyMap<string, string>;
  /** v1 hierarchies that only have a name (`name=systemd`): no limits, but a service's processes are told by them. */
  readonly named: readonly string[];
  /** The one cgroup2 mount, with the controllers that no v1 hierarchy took. */
  readonly unified: { readonly directory: string; readonly controllers: readonly string[] } | undefined;
}

const v1Controllers: ReadonlySet<string> = new Set([
  ...usedControllers.filter((name) => name !== "io"),
  "net_cls",
  "net_prio",
  "perf_event",
  "hugetlb",
  "rdma",
  "misc",
]);

/** Reads this process's mounts, cgroups(7). A hierarchy that is mounted twice counts once, at the first writable place. */
export function findCgroupMounts(mounts: readonly MountInfo[] = readMounts()): CgroupMounts {
  const v1 = new Map<string, string>();
  const named: string[] = [];
  let unified: CgroupMounts["unified"];
  const seen = new Set<string>();
  for (const { type, target, superOptions, options, major, minor } of mounts) {
    const hierarchy = `${major}:${minor}`;
    if ((type !== "cgroup" && type !== "cgroup2") || options.includes("ro") || seen.has(hierarchy)) continue;
    seen.add(hierarchy);
    if (type === "cgroup2") {
      const controllers = readControl(join(target, "cgroup.controllers"))?.split(" ").filter(Boolean) ?? [];
      unified ??= { directory: target, controllers };
      continue;
    }
    const controllers = superOptions.filter((option) => v1Controllers.has(option));
    for (const controller of controllers) v1.set(controller, target);
    if (controllers.length === 0 && existsSync(join(target, "cgroup.procs"))) named.push(target);
  }
  return { v1, named, unified };
}
