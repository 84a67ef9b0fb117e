import { basename } from "node:path";
import type { OciMount, OciSpec, Op } from "../spec/index.ts";
import { op } from "../spec/index.ts";
import { splitMountOptions } from "./mount-options.ts";
import type { PlanContext } from "./compile-plan.ts";

const reasons: Readonly<Record<string, string>> = {
  "/proc": "Processes as this pid namespace sees them; the host's /proc would show all of the host's",
  "/dev": "An empty /dev, filled below with the few devices that do no harm",
  "/dev/pts": "Terminals of its own: a new instance, in which the first is /dev/pts/0",
  "/sys": "The kernel's devices and settings, as this network namespace sees them",
  "/dev/mqueue": "POSIX message queues of this ipc namespace",
  "/dev/shm": "Shared memory, with its own limit",
  "/sys/fs/cgroup": "Control groups, to be read",
  "/etc/hosts": "Written by the engine, which knows the addresses",
  "/etc/hostname": "Written by the engine",
  "/etc/resolv.conf": "Written by the engine: the host's, less what is not reachable from here",
};

/** The ops that mount everything below the new root, before it becomes the root. */
export function mountOps(spec: OciSpec, context: PlanContext): Op[] {
  return spec.mounts.flatMap((mount) => {
    if (mount.type === "cgroup") return cgroupOps(mount, { spec, context });
    return [mount.type === "bind" ? bindOp(mount, { spec, context }) : fileSystemOp(mount, spec)];
  });
}

/** A read-only superblock cannot be filled: such file systems are closed after the pivot. */
export function sealOps(spec: OciSpec): Op[] {
  const cgroup = spec.mounts.find(({ type }) => type === "cgroup");
  const seals: Op[] = [];
  if (cgroup?.options.includes("ro")) {
    seals.push(
      op(
        "child",
        "remount",
        [cgroup.destination, "ro,nosuid,nodev,noexec"],
        "All controllers are in place: nothing more is to be written here",
      ),
    );
  }
  if (spec.root.readonly) {
    seals.push(op("child", "remount", ["/", "ro"], "--read-only: what is mounted in it keeps its own rights"));
  }
  return seals;
}

function fileSystemOp(mount: OciMount, spec: OciSpec): Op {
  const { flags, data, propagation } = splitMountOptions(mount.options);
  // Docker makes all but these read-only together with the root.
  const writable = ["/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"].includes(mount.destination);
  const isDefault = ["sysfs", "cgroup2"].includes(mount.type);
  const sealed = spec.root.readonly && isDefault && !writable && !flags.includes("ro") ? [...flags, "ro"] : flags;
  return op(
    "child",
    "mount",
    [
      mount.type,
      mount.source,
      mount.destination,
      [...sealed, ...(propagation ? [propagation] : [])].join(","),
      data.join(","),
      "",
      spec.root.path,
    ],
    reasons[mount.destination] ?? `A ${mount.type} of its own at ${mount.destination}`,
  );
}

function bindOp(mount: OciMount, { spec, context }: { spec: OciSpec; context: PlanContext }): Op {
  const { flags, propagation, bind } = splitMountOptions(mount.options);
  const words = [...(bind === "bind" ? [] : ["rec"]), ...flags, propagation ?? "rprivate"];
  const create = context.isFile(mount.source) ? "file" : "dir";
  const access = flags.includes("ro") || flags.includes("rro") ? ", read-only" : "";
  const reason =
    reasons[mount.destination] ??
    `The same ${create === "file" ? "file" : "directory"} under a second name: ${mount.source} of the host${access}`;
  return op("child", "bind", [mount.source, mount.destination, words.join(","), spec.root.path, create], reason);
}

/**
 * cgroup v1: a tmpfs with a directory for each controller. In the host's cgroup namespace the container's own group is bound there;
 * in a private one the controller is mounted, whose root is that group.
 */
function cgroupOps(mount: OciMount, { spec, context }: { spec: OciSpec; context: PlanContext }): Op[] {
  const { destination } = mount;
  const { flags } = splitMountOptions(mount.options);
  const safe = flags.filter((flag) => flag !== "ro").join(",");
  const root = spec.root.path;
  const isPrivate = spec.linux.namespaces.some(({ type }) => type === "cgroup");
  const ops: Op[] = [
    op(
      "child",
      "mount",
      ["tmpfs", "tmpfs", destination, safe, "mode=755", "", root],
      "A place for the controllers of cgroup v1, one directory each",
    ),
  ];
  for (const directory of context.cgroupDirectories) {
    const name = controllerOf(directory, spec.linux.cgroupsPath);
    const target = `${destination}/${name}`;
    ops.push(
      isPrivate
        ? op(
            "child",
            "mount",
            [...controllerMount(name), target, flags.join(","), controllerData(name), "", root],
            `The ${name} hierarchy, whose root is the container's own group here`,
          )
        : op(
            "child",
            "bind",
            [directory, target, [...flags, "rprivate"].join(","), root, "dir"],
            `The container's own group of ${name}, and nothing above it`,
          ),
    );
    // Controllers that share a hierarchy are found under each one's name, too.
    if (!name.includes(",")) continue;
    for (const part of name.split(",")) {
      ops.push(
        op("child", "symlink", [name, `${destination}/${part}`, root], `${part} is mounted together with others`),
      );
    }
  }
  return ops;
}

/** `/sys/fs/cgroup/memory/vitrine/ID` is the group `/vitrine/ID` of `memory`. */
function controllerOf(directory: string, group: string): string {
  const path = `/${group.replace(/^\/+/, "")}`;
  return basename(directory.endsWith(path) ? directory.slice(0, -path.length) : directory);
}

function controllerMount(name: string): [fstype: string, source: string] {
  return name === "unified" ? ["cgroup2", "cgroup2"] : ["cgroup", "cgroup"];
}

function controllerData(name: string): string {
  if (name === "unified") return "";
  return name === "systemd" ? "none,name=systemd" : name;
}
