// What the kernel says of a process's control groups, read without the engine's own code.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Whether limits are set through cgroup v2 on this machine. */
export const limitsAreV2 = existsSync("/sys/fs/cgroup/cgroup.controllers");

/** The path of a process's group in each hierarchy, by its controllers' names (`cpu,cpuacct`, `name=systemd`; v2: empty). */
export function groupPaths(pid: number | "self"): Map<string, string> {
  const lines = readFileSync(`/proc/${pid}/cgroup`, "utf8").trimEnd().split("\n");
  return new Map(
    lines.map((line) => {
      const [, controllers = "", path = ""] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
      return [controllers, path];
    }),
  );
}

/** A file of a process's group: the first of these names that one of its hierarchies has. */
export function controlFile(pid: number, ...names: readonly string[]): string {
  for (const [controllers, path] of groupPaths(pid)) {
    for (const root of hierarchyRoots(controllers)) {
      const file = names.map((name) => join(root, path, name)).find((candidate) => existsSync(candidate));
      if (file) return file;
    }
  }
  throw new Error(`No group of process ${pid} has ${names.join(" or ")}`);
}

/** The text of that file. */
export function control(pid: number, ...names: readonly string[]): string {
  return readFileSync(controlFile(pid, ...names), "utf8").trimEnd();
}

/** A number after a key of a file such as cpu.stat. */
export function keyed(text: string, key: string): number {
  return Number(new RegExp(`^${key} (\\d+)$`, "m").exec(text)?.[1]);
}

/** Directories of that name in any hierarchy. */
export function groupsNamed(path: string): string[] {
  const roots = limitsAreV2
    ? ["/sys/fs/cgroup"]
    : readdirSync("/sys/fs/cgroup").map((name) => `/sys/fs/cgroup/${name}`);
  return roots.map((root) => join(root, path)).filter((directory) => existsSync(directory));
}

function hierarchyRoots(controllers: string): string[] {
  const mounts = readFileSync("/proc/self/mounts", "utf8").split("\n");
  return mounts.flatMap((line) => {
    const [, target = "", type, options = ""] = line.split(" ");
    if (controllers === "") return type === "cgroup2" ? [target] : [];
    const wanted = controllers.split(",");
    return type === "cgroup" && wanted.every((name) => options.split(",").includes(name)) ? [target] : [];
  });
}
