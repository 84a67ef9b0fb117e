import { readFileSync, readdirSync } from "node:fs";

const ticksPerSecond = 100;

/** Seconds that a process and its children have computed, those included that have ended and were waited for (proc_pid_stat(5)). */
export function processorSeconds(pid: number): number {
  let ticks = 0;
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const fields = statOf(Number(name));
    if (Number(name) !== pid && Number(fields?.[1]) !== pid) continue;
    for (const field of fields?.slice(11, 15) ?? []) ticks += Number(field);
  }
  return ticks / ticksPerSecond;
}

/** What follows the name, which may hold anything; undefined when the process is gone. */
function statOf(pid: number): string[] | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  } catch {
    return undefined;
  }
}
