// Control groups are directories and small files; these calls are synchronous, since each takes microseconds.
import { closeSync, constants, mkdirSync, openSync, readdirSync, readFileSync, rmdirSync, writeSync } from "node:fs";
import { rmdir } from "node:fs/promises";
import { join } from "node:path";
import { EngineError } from "../common/index.ts";
import { SystemError } from "./libc.ts";

/** How long a group may stay busy after its last process was killed, before removing it is given up. */
const removalLimitMs = 5000;

/**
 * Writes one value to a control file. Not writeFileSync with its own flags: those create and truncate, and the kernel answers
 * EPERM for a file that it does not have instead of ENOENT. `what` is the sentence of the failure without its cause.
 */
export function writeControl(file: string, value: string, what?: () => string): void {
  writeControls(file, [value], what);
}

/** Writes values one by one, each with its own write(2), as files of rules (`devices.allow`) want them. */
export function writeControls(file: string, values: readonly string[], what?: () => string): void {
  let current = "";
  try {
    const descriptor = openSync(file, constants.O_WRONLY);
    try {
      for (current of values) writeSync(descriptor, current);
    } finally {
      closeSync(descriptor);
    }
  } catch (error) {
    throw controlError(error, what?.() ?? `Cannot write ${JSON.stringify(current)} to "${file}"`);
  }
}

/** A control file's text without its last newline; undefined when the kernel has no such file there. */
export function readControl(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8").trimEnd();
  } catch (error) {
    // ENODEV: the group went away between open and read. EOPNOTSUPP: the file has no meaning for this group.
    if (["ENOENT", "ENODEV", "ENOTSUP", "EOPNOTSUPP"].includes(errorCode(error))) return undefined;
    throw controlError(error, `Cannot read "${file}"`);
  }
}

/** `key value` lines as an object of numbers. */
export function readKeyed(file: string): Record<string, number> {
  const values: Record<string, number> = {};
  for (const line of readControl(file)?.split("\n") ?? []) {
    const [key, value] = line.split(/[ \t]+/);
    if (key && value !== undefined) values[key] = Number(value);
  }
  return values;
}

/** Makes one group. True when it is new, false when it was there; throws notFound when its parent is not. */
export function makeGroup(directory: string): boolean {
  try {
    mkdirSync(directory, { mode: 0o755 });
    return true;
  } catch (error) {
    if (errorCode(error) === "EEXIST") return false;
    throw controlError(error, `Cannot make the control group "${directory}"`);
  }
}

/** Removes one empty group now; false when it is busy, has children, or is not there. */
export function removeGroupNow(directory: string): boolean {
  try {
    rmdirSync(directory);
    return true;
  } catch {
    return false;
  }
}

/** Groups directly below a group, names only. */
export function childGroups(directory: string): string[] {
  try {
    return readdirSync(directory, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name);
  } catch (error) {
    if (["ENOENT", "ENODEV"].includes(errorCode(error))) return [];
    throw controlError(error, `Cannot list the control group "${directory}"`);
  }
}

/** Process ids of a group and of the groups below it. */
export function groupProcesses(directory: string): number[] {
  const processes: number[] = [];
  for (const line of readControl(join(directory, "cgroup.procs"))?.split("\n") ?? []) {
    // 0 stands for a process of a pid namespace that is not ours.
    if (line !== "" && line !== "0") processes.push(Number(line));
  }
  for (const child of childGroups(directory)) processes.push(...groupProcesses(join(directory, child)));
  return processes;
}

/**
 * Removes a group and the groups below it, children first, off the main thread: the rmdir of a cpuset takes milliseconds. A group is busy until its
 * last process is reaped, so EBUSY is tried again with growing pauses. A group that is not there is no error.
 */
export async function removeGroup(directory: string): Promise<void> {
  for (const child of childGroups(directory)) await removeGroup(join(directory, child));
  const deadline = performance.now() + removalLimitMs;
  for (let pauseMs = 1; ; pauseMs = Math.min(pauseMs * 2, 100)) {
    try {
      await rmdir(directory);
      return;
    } catch (error) {
      const code = errorCode(error);
      if (code === "ENOENT" || code === "ENODEV") return;
      if (code !== "EBUSY" || performance.now() > deadline) {
        const processes = groupProcesses(directory);
        const held = processes.length > 0 ? ` held by process ${processes.slice(0, 8).join(", ")}` : "";
        throw controlError(error, `Cannot remove the control group "${directory}"${held}`);
      }
      await Bun.sleep(pauseMs);
    }
  }
}

/** Whether a thrown value is the kernel's refusal with one of these names (`EBUSY`). */
export function isErrno(error: unknown, ...names: string[]): boolean {
  return error instanceof SystemError && names.includes(String(error.data["errnoName"]));
}

function errorCode(error: unknown): string {
  return String((error as NodeJS.ErrnoException | undefined)?.code ?? "");
}

function controlError(error: unknown, what: string): EngineError {
  const { errno, syscall } = error as NodeJS.ErrnoException;
  if (typeof errno !== "number") return new EngineError("internal", what, { cause: error });
  return new SystemError(syscall ?? "", Math.abs(errno), what);
}
