import { readFileSync, readdirSync, rmdirSync } from "node:fs";
import { join } from "node:path";

/** Removes a peer's control group and those below it, wherever the machine's hierarchies are mounted. */
export function removeGroups(group: string): void {
  const roots = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .filter((line) => / - cgroup2? /.test(line))
    .map((line) => line.split(" ")[4] ?? "");
  for (const root of roots) removeGroup(join(root, group));
}

function removeGroup(directory: string): void {
  try {
    for (const entry of readdirSync(directory, { withFileTypes: true }))
      if (entry.isDirectory()) removeGroup(join(directory, entry.name));
    rmdirSync(directory);
  } catch {
    // It was never made in this hierarchy.
  }
}
