import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const groupRoot = "/sys/fs/cgroup";
/** How the tests and the demo name what they make: other engines may come and go meanwhile. */
const ours = /(^|[/\s"-])(vt|vd-|vitrine|helper-|runtime-|cg)[\w-]*\d/;

/** Mounts, links, firewall tables and control groups of this machine that bear a test's name, as lines, seen with the system's own tools. */
export function machineState(): string[] {
  return [
    ...mounts().map((target) => `mount ${target}`),
    ...lines("ip", "-o", "link").map((line) => `link ${line.split(": ")[1]?.split("@")[0] ?? line}`),
    ...lines("nft", "list", "tables"),
    ...groups(groupRoot, 3).map((path) => `control group ${path}`),
  ].filter((line) => ours.test(line));
}

function mounts(): string[] {
  return readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "");
}

function lines(...command: string[]): string[] {
  const { exitCode, stdout } = Bun.spawnSync(command, { stderr: "ignore" });
  return exitCode === 0 ? stdout.toString().split("\n").filter(Boolean) : [];
}

function groups(folder: string, depth: number): string[] {
  if (depth === 0) return [];
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .flatMap((entry) => [join(folder, entry.name), ...groups(join(folder, entry.name), depth - 1)]);
  } catch {
    // A group that went meanwhile.
    return [];
  }
}
