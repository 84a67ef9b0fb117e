import { statSync } from "node:fs";
import { EngineError } from "../common/index.ts";
import type { Mount, OciNamespace, OciNamespaceType, OciSpec, Op, Plan, PlanSettings } from "../spec/index.ts";
import { op, planLimits } from "../spec/index.ts";
import { splitMountOptions } from "./mount-options.ts";
import { mountOps, sealOps } from "./plan-mounts.ts";
import { execOps, identityOps, limitOps, sessionOps } from "./plan-tail.ts";

/** What a plan needs beside the OCI spec: what stands on the host, and what the monitor is told. */
export interface PlanOptions {
  /** The snapshot's overlay at `spec.root.path`, and what else the monitor mounts on the host; their targets are host paths. */
  readonly rootMounts: readonly Mount[];
  readonly settings: PlanSettings;
  /** Host directories of the container's group, one a controller on v1, from `Cgroups.create`. */
  readonly cgroupDirectories: readonly string[];
  readonly pivot: "pivot" | "chroot";
  /** Whether a bind's source is a file, where that is known beforehand; else the host is looked at. Its target is made like it. */
  readonly isFile?: (path: string) => boolean | undefined;
}

/** The same with the look at the host decided. */
export interface PlanContext extends PlanOptions {
  readonly isFile: (path: string) => boolean;
}

/** The names that the plan and /proc/PID/ns have for OCI's. */
export const namespaceNames: Readonly<Record<OciNamespaceType, string>> = {
  mount: "mnt",
  network: "net",
  uts: "uts",
  pid: "pid",
  ipc: "ipc",
  cgroup: "cgroup",
  user: "user",
};

const namespaceReasons: Readonly<Record<OciNamespaceType, string>> = {
  mount: "mounts",
  network: "interfaces",
  uts: "hostname",
  pid: "process numbers",
  ipc: "shared memory and queues",
  cgroup: "view of control groups",
  user: "user numbers",
};

/** Links that programs expect in /dev (OCI config-linux.md, /dev symbolic links). */
const deviceLinks = [
  ["/proc/self/fd", "/dev/fd"],
  ["/proc/self/fd/0", "/dev/stdin"],
  ["/proc/self/fd/1", "/dev/stdout"],
  ["/proc/self/fd/2", "/dev/stderr"],
  ["pts/ptmx", "/dev/ptmx"],
] as const;

/**
 * The operations that make the container `spec` describes, in the order in which the helper executes them. Pure but for
 * `isFile`: the same input gives the same plan. Throws unsupported for a user namespace of its own, resourceExhausted beyond the
 * plan's limits.
 */
export function compilePlan(spec: OciSpec, options: PlanOptions): Plan {
  const context: PlanContext = { ...options, isFile: (path) => options.isFile?.(path) ?? isFileOnHost(path) };
  if (spec.linux.namespaces.some(({ type }) => type === "user")) {
    throw new EngineError("unsupported", "a user namespace of the container's own (userns-remap) is not built yet");
  }
  const ops: Op[] = [
    ...rootOps(context),
    ...birthOps(spec),
    ...cgroupJoinOps(spec, context),
    ...propagationOps(spec),
    ...mountOps(spec, context),
    ...deviceOps(spec),
    ...pivotOps(spec, context),
    ...hidingOps(spec),
    ...workingDirectoryOps(spec),
    ...terminalOps(spec),
    ...sealOps(spec),
    ...limitOps(spec.process, `_ses.${context.settings["id"] ?? spec.hostname ?? ""}`),
    op(
      "child",
      "sync",
      ["commit"],
      "All is ready: the engine writes the process number down, then gives leave. If the engine dies now, everything is undone",
    ),
    ...sessionOps(spec.process),
    ...identityOps(spec.process, spec.linux.seccomp),
    ...execOps(spec.process),
  ];
  if (ops.length > planLimits.ops) {
    throw new EngineError(
      "resourceExhausted",
      `a start of ${ops.length} operations passes the limit of ${planLimits.ops}`,
    );
  }
  return { settings: context.settings, ops };
}

function isFileOnHost(path: string): boolean {
  const about = statSync(path, { throwIfNoEntry: false });
  return about !== undefined && !about.isDirectory();
}

function rootOps({ rootMounts }: PlanContext): Op[] {
  return rootMounts.map((mount) => {
    const { flags, data, propagation } = splitMountOptions(mount.options);
    const words = [...flags, ...(propagation ? [propagation] : [])].join(",");
    const reason =
      mount.type === "overlay"
        ? "The image's layers and the container's own, seen as one tree; mounted in the host's view, where it can be looked at"
        : `A ${mount.type} in the host's view, to be bound into the container`;
    if (mount.type === "bind") {
      const rec = mount.options.includes("bind") ? "" : "rec,";
      return op(
        "monitor",
        "bind",
        [mount.source, mount.target, `${rec}${[...flags, propagation ?? "rprivate"].join(",")}`, "", "dir"],
        reason,
      );
    }
    if (mount.type.startsWith("fuse.")) return programOp(mount);
    return op(
      "monitor",
      "mount",
      [mount.type, mount.source, mount.target, words, data.join(","), mount.workingDirectory ?? "", ""],
      reason,
    );
  });
}

function programOp({ source, target, options, workingDirectory }: Mount): Op {
  return op(
    "monitor",
    "mount-program",
    [source, target, options.join(","), workingDirectory ?? ""],
    "The image's layers and the container's own, seen as one tree that a program shows; it ends when it is unmounted",
  );
}

function birthOps({ linux }: OciSpec): Op[] {
  const fresh = linux.namespaces.filter(({ type, path }) => path === undefined && type !== "cgroup");
  const joined = linux.namespaces.filter(
    (namespace): namespace is OciNamespace & { path: string } => namespace.path !== undefined,
  );
  const [processes] = joined.filter(({ type }) => type === "pid");
  const views = fresh.map(({ type }) => namespaceReasons[type]).join(", ");
  return [
    ...(processes
      ? [
          op(
            "monitor",
            "setns",
            ["pid", processes.path],
            "A pid namespace is entered by being born in it: the next child will be",
          ),
        ]
      : []),
    op(
      "monitor",
      "clone",
      [fresh.map(({ type }) => namespaceNames[type]).join(",")],
      `A process is born with its own ${views}: this is the container`,
    ),
    ...joined
      .filter(({ type }) => type !== "pid")
      .map(({ type, path }) => op("child", "setns", [namespaceNames[type], path], joinReason(type))),
  ];
}

function joinReason(type: OciNamespaceType): string {
  return type === "network"
    ? "The network was made before, with its addresses and routes: the process only enters it"
    : `It shares another container's ${namespaceReasons[type]}`;
}

function cgroupJoinOps(spec: OciSpec, { cgroupDirectories }: PlanContext): Op[] {
  const isPrivate = spec.linux.namespaces.some(({ type, path }) => type === "cgroup" && path === undefined);
  return [
    ...cgroupDirectories.map((directory) =>
      op(
        "child",
        "join-cgroup",
        [directory],
        "It moves itself into the group whose limits were written before: not one instruction of it runs unlimited",
      ),
    ),
    ...(isPrivate
      ? [
          op(
            "child",
            "unshare",
            ["cgroup"],
            "From here on its own group looks like the root of all groups; before the join it would show the path",
          ),
        ]
      : []),
  ];
}

function propagationOps({ linux, root }: OciSpec): Op[] {
  const kind = linux.rootfsPropagation;
  const reason =
    kind === "private"
      ? "A new mount namespace is a copy whose mounts still tell the host's: now none of what follows is seen outside"
      : `A volume asked for it: mounts ${kind === "shared" ? "go both ways" : "of the host still arrive"}`;
  const ops: Op[] = [op("child", "remount", ["/", `r${kind}`], reason)];
  if (kind === "shared") {
    // pivot_root(2) refuses a new root, or a parent of it, that is shared.
    ops.push(
      op("child", "remount", [root.path, "private"], "The root itself cannot be shared and be changed to"),
      op(
        "child",
        "bind",
        [root.path, root.path, "rec,rprivate", "", "none"],
        "A mount of its own whose parent is not shared",
      ),
    );
  }
  return ops;
}

function deviceOps({ linux, mounts, root }: OciSpec): Op[] {
  // With the user's own /dev there is nothing of ours to make in it.
  if (mounts.some(({ destination, type }) => destination === "/dev" && type === "bind")) return [];
  const nodes = linux.devices.filter(({ path }) => path !== "/dev/ptmx" && path !== "/dev/console");
  return [
    ...nodes.map(({ path, type, fileMode, major, minor, uid, gid }) =>
      op(
        "child",
        "mknod",
        [path, type, fileMode.toString(8), String(major), String(minor), String(uid), String(gid), root.path],
        `${path} is two numbers that name a driver of the kernel`,
      ),
    ),
    ...deviceLinks.map(([text, path]) => op("child", "symlink", [text, path, root.path], `Programs expect ${path}`)),
  ];
}

function pivotOps(spec: OciSpec, { pivot }: PlanContext): Op[] {
  const { hostname, domainname, linux, root } = spec;
  const reason =
    pivot === "pivot"
      ? "The new root takes the old one's place, and the old one is let go: no path leads back to the host"
      : "--no-pivot: the root is moved onto /, then entered; weaker, for hosts whose own root cannot be pivoted";
  return [
    op("child", "pivot-root", [root.path, pivot], reason),
    ...(hostname ? [op("child", "sethostname", [hostname], "Its own name, in its own uts namespace")] : []),
    ...(domainname ? [op("child", "setdomainname", [domainname], "Its own NIS domain name")] : []),
    ...Object.entries(linux.sysctl).map(([key, value]) => op("child", "sysctl", [key, value], sysctlReason(key))),
  ];
}

function sysctlReason(key: string): string {
  if (key.endsWith("ip_unprivileged_port_start"))
    return "Any user may listen on port 80: the network is the container's own";
  if (key.endsWith("ping_group_range")) return "Any user may ping without CAP_NET_RAW";
  return "--sysctl: the value of its own namespace, not the host's";
}

function hidingOps({ linux }: OciSpec): Op[] {
  return [
    ...linux.readonlyPaths.map((path) =>
      op("child", "read-only-path", [path], "Writing here would change the host, which has no namespace for it"),
    ),
    ...linux.maskedPaths.map((path) =>
      op("child", "mask", [path], "It tells of the host or of neighbours: covered by something empty"),
    ),
  ];
}

function workingDirectoryOps({ process }: OciSpec): Op[] {
  if (process.cwd === "/") return [];
  return [
    op("child", "mkdir", [process.cwd, "755", "0", "0", ""], "The working directory is made when the image lacks it"),
  ];
}

function terminalOps({ process, mounts }: OciSpec): Op[] {
  if (!process.terminal) return [];
  const ops: Op[] = [
    op(
      "child",
      "send-fd",
      ["pty"],
      "The container's terminal is made in its own devpts; the monitor gets the other end",
    ),
  ];
  const ownDevices = mounts.some(({ destination, type }) => destination === "/dev/pts" && type === "devpts");
  if (ownDevices)
    ops.push(
      op(
        "child",
        "bind",
        ["/dev/pts/0", "/dev/console", "rprivate", "", "file"],
        "The same terminal, where programs look for the console",
      ),
    );
  return ops;
}
