import { EngineError } from "../common/index.ts";
import type { HostConfig, Mount, OciMount } from "../spec/index.ts";
import { tmpfsOptions } from "./mount-options.ts";

/** Docker's default size of /dev/shm. */
const defaultShmBytes = 64 * 1024 * 1024;
/** Where an init process is bound, as in Docker. */
export const initPath = "/sbin/docker-init";

export interface MountRequests {
  readonly host: HostConfig;
  /** Volumes, binds and the files that the engine writes, by target inside the container. */
  readonly mounts: readonly Mount[];
  readonly cgroupVersion: "v1" | "v2" | "hybrid";
  readonly writableCgroups: boolean;
  /** Host path of a static init program, when one is asked for. */
  readonly initSource: string | undefined;
}

/** What every container has mounted (moby's default spec), in the order in which it is mounted. */
function defaultMounts(requests: MountRequests): OciMount[] {
  const { host, cgroupVersion } = requests;
  const cgroup = cgroupVersion === "v2" ? "cgroup2" : "cgroup";
  const safe = ["nosuid", "noexec", "nodev"];
  const rights = (writable: boolean) => (writable ? safe : [...safe, "ro"]);
  const privileged = host.Privileged ?? false;
  const shmBytes = host.ShmSize || defaultShmBytes;
  return [
    { destination: "/proc", type: "proc", source: "proc", options: safe },
    {
      destination: "/dev",
      type: "tmpfs",
      source: "tmpfs",
      options: ["nosuid", "strictatime", "mode=755", "size=65536k"],
    },
    {
      destination: "/dev/pts",
      type: "devpts",
      source: "devpts",
      options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    },
    { destination: "/sys", type: "sysfs", source: "sysfs", options: rights(privileged) },
    {
      destination: "/sys/fs/cgroup",
      type: cgroup,
      source: cgroup,
      options: rights(privileged || requests.writableCgroups),
    },
    { destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: safe },
    { destination: "/dev/shm", type: "tmpfs", source: "shm", options: [...safe, "mode=1777", `size=${shmBytes}`] },
  ];
}

/**
 * The mounts of a container as Docker composes them: the defaults, but for those that a mount of the user's replaces, for all below
 * /dev when the user brings /dev, and for /dev/shm with `--ipc none`; then the user's, parents first.
 */
export function composeMounts(requests: MountRequests): OciMount[] {
  const { host } = requests;
  const own = [...requests.mounts.map(toOciMount), ...tmpfsMounts(requests), ...initMount(requests.initSource)];
  const replaced = new Set(own.map(({ destination }) => destination));
  const defaults = defaultMounts(requests).filter(
    ({ destination }) =>
      !replaced.has(destination) &&
      !(replaced.has("/dev") && destination.startsWith("/dev/")) &&
      !(destination === "/dev/shm" && host.IpcMode === "none"),
  );
  return [...defaults, ...own.sort((left, right) => depthOf(left.destination) - depthOf(right.destination))];
}

function toOciMount(mount: Mount): OciMount {
  if (!mount.target.startsWith("/")) {
    throw new EngineError("invalidArgument", `mount target "${mount.target}" is not an absolute path`);
  }
  const destination = normalPath(mount.target);
  if (destination === "/") {
    throw new EngineError("invalidArgument", `invalid specification: destination can't be '/'`);
  }
  const options = [...mount.options];
  if (mount.type === "bind" && !options.includes("bind") && !options.includes("rbind")) options.unshift("rbind");
  return { destination, type: mount.type, source: mount.source, options };
}

function tmpfsMounts({ host, mounts }: MountRequests): OciMount[] {
  const given = new Set(mounts.map(({ target }) => normalPath(target)));
  return Object.entries(host.Tmpfs ?? {})
    .map(([target, options]) => ({ destination: normalPath(target), options: tmpfsOptions(options) }))
    .filter(({ destination }) => !given.has(destination))
    .map(({ destination, options }) => ({ destination, type: "tmpfs", source: "tmpfs", options }));
}

function initMount(source: string | undefined): OciMount[] {
  if (source === undefined) return [];
  return [{ destination: initPath, type: "bind", source, options: ["bind", "ro", "rprivate"] }];
}

function depthOf(path: string): number {
  return path.split("/").length;
}

/** Cleans `//`, `.` and `..` away, as Go's filepath.Clean does. */
export function normalPath(path: string): string {
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  return `/${parts.join("/")}`;
}
