import { copyFileSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { compilePlan, type SpecInput, startMonitor, toOciSpec, type MonitorStart } from "../../src/runtime/index.ts";
import type { HostConfig, OciSpec, Plan, PlanSettings, ProcessSpec } from "../../src/spec/index.ts";

export const helperPath = join(import.meta.dir, "..", "..", "dist", "vitrine-helper");

const applets = [
  "sh",
  "cat",
  "echo",
  "sleep",
  "id",
  "ls",
  "mount",
  "hostname",
  "ps",
  "stat",
  "readlink",
  "test",
  "true",
];
const moreApplets = [
  "touch",
  "env",
  "pwd",
  "stty",
  "head",
  "kill",
  "grep",
  "dd",
  "chroot",
  "mknod",
  "tty",
  "seq",
  "wc",
  "yes",
];

/** A root of busybox's below `folder`: `lower` to be covered by an overlay at `merged`. */
export interface BusyboxRoot {
  readonly folder: string;
  readonly lower: string;
  readonly merged: string;
}

export function makeBusyboxRoot(folder: string): BusyboxRoot {
  const lower = join(folder, "lower");
  for (const name of ["bin", "etc", "proc", "sys", "dev", "tmp"]) mkdirSync(join(lower, name), { recursive: true });
  for (const name of ["upper", "work", "merged", "run"]) mkdirSync(join(folder, name), { recursive: true });
  copyFileSync("/bin/busybox", join(lower, "bin", "busybox"));
  for (const name of [...applets, ...moreApplets]) symlinkSync("busybox", join(lower, "bin", name));
  writeFileSync(join(lower, "etc/passwd"), "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n");
  writeFileSync(join(lower, "etc/group"), "root:x:0:\nwheel:x:10:app\napp:x:1000:\n");
  return { folder, lower, merged: join(folder, "merged") };
}

export interface ContainerOptions {
  readonly process?: Partial<ProcessSpec>;
  readonly host?: HostConfig;
  readonly input?: Partial<SpecInput>;
  readonly settings?: PlanSettings;
  readonly cgroupDirectories?: readonly string[];
  readonly pivot?: "pivot" | "chroot";
}

const id = "ab".repeat(32);

export function processSpec(process: Partial<ProcessSpec> = {}): ProcessSpec {
  return {
    args: ["true"],
    env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
    cwd: "/",
    user: { uid: 0, gid: 0, groups: [0], home: "/root" },
    terminal: false,
    ...process,
  };
}

/** Spec and plan of a container on that root, with everything of its own and no groups. */
export function busyboxPlan(root: BusyboxRoot, options: ContainerOptions = {}): { spec: OciSpec; plan: Plan } {
  const spec = toOciSpec({
    id,
    config: {},
    host: options.host ?? {},
    rootPath: root.merged,
    mounts: [],
    hostname: "box",
    namespaces: {
      mnt: { kind: "new" },
      pid: { kind: "new" },
      ipc: { kind: "new" },
      uts: { kind: "new" },
      net: { kind: "new" },
      cgroup: { kind: "host" },
      user: { kind: "host" },
    },
    cgroupPath: "/vitrine-test/none",
    cgroupVersion: "v1",
    process: processSpec(options.process),
    ...options.input,
  });
  const run = join(root.folder, "run");
  const plan = compilePlan(spec, {
    rootMounts: [
      {
        type: "overlay",
        source: "overlay",
        target: root.merged,
        options: [`lowerdir=${root.lower}`, `upperdir=${root.folder}/upper`, `workdir=${root.folder}/work`],
      },
    ],
    settings: {
      id,
      socket: join(run, "monitor.sock"),
      "exit-record": join(run, "exit"),
      "log-path": join(root.folder, "log"),
      ...options.settings,
    },
    cgroupDirectories: options.cgroupDirectories ?? [],
    pivot: options.pivot ?? "pivot",
  });
  return { spec, plan };
}

export function startPlan(root: BusyboxRoot, plan: Plan, descriptors: readonly number[] = []): Promise<MonitorStart> {
  return startMonitor({ helperPath, runDirectory: join(root.folder, "run"), plan, descriptors });
}
