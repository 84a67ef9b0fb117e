import { closeSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { EngineError } from "../common/index.ts";
import { check, errno, SystemError, syscall } from "./libc.ts";
import { errnoNumber } from "./errno.ts";

/** What tells a process from a later one with the same number. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks from boot to its start: field 22 of /proc/PID/stat. */
  readonly startTime: number;
  readonly bootId: string;
}

export const namespaceNames = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"] as const;
export type NamespaceName = (typeof namespaceNames)[number];

// Both are 434 and 424 on every architecture since Linux 5.3: new calls have one number everywhere.
const SYS_pidfd_open = 434;
const SYS_pidfd_send_signal = 424;

let cachedBootId: string | undefined;

/** This boot's random id, proc(5) /proc/sys/kernel/random/boot_id: 36 characters with dashes. */
export function bootId(): string {
  cachedBootId ??= readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  return cachedBootId;
}

/** Start time in clock ticks since boot, proc_pid_stat(5) field 22; undefined when there is no such process. */
export function startTime(pid: number): number | undefined {
  return readStat(pid)?.startTime;
}

/** Identity of a running process, for records; undefined when it is gone or only a zombie is left. */
export function identify(pid: number): ProcessIdentity | undefined {
  const stat = readStat(pid);
  if (!stat || isDead(stat.state)) return undefined;
  return { pid, startTime: stat.startTime, bootId: bootId() };
}

/** Whether that very process still runs: same boot, same start time, no zombie. */
export function isAlive(identity: ProcessIdentity): boolean {
  if (identity.bootId !== bootId()) return false;
  const stat = readStat(identity.pid);
  return stat !== undefined && stat.startTime === identity.startTime && !isDead(stat.state);
}

/** Inode numbers of a process's namespaces, namespaces(7). Throws notFound when the process is gone. */
export function namespaceInodes(pid: number | "self" = "self"): Record<NamespaceName, number> {
  const inodes = {} as Record<NamespaceName, number>;
  for (const name of namespaceNames) {
    const path = `/proc/${pid}/ns/${name}`;
    try {
      inodes[name] = Number(/\[(\d+)\]/.exec(readlinkSync(path))?.[1] ?? statSync(path).ino);
    } catch (cause) {
      throw new EngineError("notFound", `Cannot read "${path}": no such process`, { cause });
    }
  }
  return inodes;
}

/** A descriptor of that process, pidfd_open(2); the caller closes it. Throws notFound when it is another or none. */
export function openPidfd(identity: ProcessIdentity): number {
  const descriptor = syscall(SYS_pidfd_open, identity.pid, 0);
  if (descriptor < 0) {
    const number = errno();
    if (number === errnoNumber("ESRCH")) throw noProcess(identity);
    throw new SystemError("pidfd_open", number, `Cannot open process ${identity.pid}`);
  }
  // Checked after opening: from here on the number cannot pass to another process unnoticed.
  if (!isAlive(identity)) {
    closeSync(descriptor);
    throw noProcess(identity);
  }
  return descriptor;
}

/** Signals that very process and no later one with its number; false when it is gone. */
export function signalProcess(identity: ProcessIdentity, signal: number): boolean {
  let descriptor: number;
  try {
    descriptor = openPidfd(identity);
  } catch (error) {
    if (error instanceof EngineError && error.code === "notFound") return false;
    throw error;
  }
  try {
    const result = syscall(SYS_pidfd_send_signal, descriptor, signal, 0, 0);
    if (result < 0 && errno() === errnoNumber("ESRCH")) return false;
    check("pidfd_send_signal", result, () => `Cannot send signal ${signal} to process ${identity.pid}`);
    return true;
  } finally {
    closeSync(descriptor);
  }
}

function readStat(pid: number): { state: string; startTime: number } | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return undefined;
  }
  // The name, field 2, may hold spaces and parentheses: what counts is after the last one.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return { state: fields[0] ?? "", startTime: Number(fields[19]) };
}

function isDead(state: string): boolean {
  return state === "Z" || state === "X";
}

function noProcess(identity: ProcessIdentity): EngineError {
  return new EngineError("notFound", `Process ${identity.pid} started at tick ${identity.startTime} is gone`);
}
