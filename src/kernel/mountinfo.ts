import { readFileSync } from "node:fs";
import { EngineError } from "../common/index.ts";

/** One line of /proc/PID/mountinfo, proc_pid_mountinfo(5); octal escapes are undone. */
export interface MountInfo {
  readonly id: number;
  readonly parentId: number;
  readonly major: number;
  readonly minor: number;
  /** The directory of the file system that is mounted here. */
  readonly root: string;
  /** Mount point, as seen from that process's root. */
  readonly target: string;
  readonly options: readonly string[];
  /** `shared:7`, `master:3`, `propagate_from:2`, `unbindable`; empty: private. */
  readonly propagation: readonly string[];
  readonly type: string;
  readonly source: string;
  readonly superOptions: readonly string[];
}

/** The mounts of a process's mount namespace, in the kernel's order. Throws notFound when the process is gone. */
export function readMounts(pid: number | "self" = "self"): MountInfo[] {
  const file = `/proc/${pid}/mountinfo`;
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (cause) {
    throw new EngineError("notFound", `Cannot read "${file}": no such process`, { cause });
  }
  return text.split("\n").filter(Boolean).map(parseMountInfo);
}

/** Parses one line: six fixed fields, optional fields up to `-`, three more. */
export function parseMountInfo(line: string): MountInfo {
  const fields = line.split(" ");
  const separator = fields.indexOf("-", 6);
  const [type, source, superOptions] = fields.slice(separator + 1);
  const [id, parentId, device, root, target, options] = fields;
  if (separator < 0 || superOptions === undefined || device === undefined) {
    throw new EngineError("internal", `Cannot read a mountinfo line: ${JSON.stringify(line)}`);
  }
  const [major, minor] = device.split(":").map(Number);
  return {
    id: Number(id),
    parentId: Number(parentId),
    major: major ?? 0,
    minor: minor ?? 0,
    root: unescape(root),
    target: unescape(target),
    options: (options ?? "").split(","),
    propagation: fields.slice(6, separator),
    type: type ?? "",
    source: unescape(source),
    superOptions: superOptions.split(","),
  };
}

/** The kernel writes space, tab, newline, backslash and `#` as three octal digits. */
function unescape(field = ""): string {
  if (!field.includes("\\")) return field;
  return field.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)));
}
