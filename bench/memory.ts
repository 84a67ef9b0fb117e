import { readFileSync, readdirSync, writeFileSync } from "node:fs";

const bytesPerMegabyte = 1_000_000;

/** A process's proportional set size in MB: its share of every page (proc_pid_smaps(5), smaps_rollup). */
export function proportionalMegabytes(pid: number): number {
  return kilobytesOf(`/proc/${pid}/smaps_rollup`, "Pss") / (bytesPerMegabyte / 1024);
}

/** A process's resident set size in MB. */
export function residentMegabytes(pid: number): number {
  return kilobytesOf(`/proc/${pid}/status`, "VmRSS") / (bytesPerMegabyte / 1024);
}

/** The largest resident set size that a process has had since `resetPeak`, or since its start, in MB. */
export function peakMegabytes(pid: number): number {
  return kilobytesOf(`/proc/${pid}/status`, "VmHWM") / (bytesPerMegabyte / 1024);
}

/** Begins a new count for `peakMegabytes` (proc_pid_clear_refs(5), value 5). */
export function resetPeak(pid: number): void {
  writeFileSync(`/proc/${pid}/clear_refs`, "5");
}

function kilobytesOf(file: string, key: string): number {
  const match = new RegExp(`^${key}:\\s+(\\d+) kB`, "m").exec(readFileSync(file, "utf8"));
  if (!match) throw new Error(`"${file}" has no ${key}`);
  return Number(match[1]);
}

/** Processes whose command line names all of these words. */
export function processesNamed(...words: string[]): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, "utf8");
        return words.every((word) => line.includes(word));
      } catch {
        return false;
      }
    })
    .map(Number);
}

/** The parent of a process, 0 when it has none or is gone. */
export function parentOf(pid: number): number {
  try {
    return Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0);
  } catch {
    return 0;
  }
}
