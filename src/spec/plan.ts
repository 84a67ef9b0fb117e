// The joint type between policy (TypeScript computes a plan) and mechanism (the helper executes it, op by op).
import { EngineError } from "../common/index.ts";

/** Both sides refuse a plan of another version. Raised when an op changes its meaning; new ops raise `planOpSet`. */
export const planVersion = 1;
/** The set of ops this engine may use. A monitor says in its hello which set it knows. */
export const planOpSet = 2;

/** Who executes an op: the monitor, outside of the container, or the child that becomes the container's process. */
export type Actor = "monitor" | "child";

/**
 * Every op with its arguments, in order, all text. Flags are comma-separated names, numbers are decimal, modes octal.
 * docs/flows/plan.md documents each; helper/ops.c has one function for each, with the same name.
 */
export interface OpArguments {
  /** namespaces (mnt,pid,uts,ipc,net,user,cgroup) that the child is born in */
  clone: [namespaces: string];
  /** type, and an absolute path of the namespace file, or `init` for the monitor's own container */
  setns: [type: string, target: string];
  /** both actors meet: everything before, of either actor, is done. `commit` also asks the daemon for leave */
  sync: [name: "commit" | string];
  /** uid | gid, then lines of `inside outside count` joined by `\n` */
  "write-map": [kind: "uid" | "gid", lines: string];
  /** the child sends the monitor a descriptor: `pty` opens /dev/pts/ptmx in the root, checks devpts, and sends the master */
  "send-fd": [what: "pty"];
  /** absolute path of a cgroup directory; writes 0 to its cgroup.procs */
  "join-cgroup": [directory: string];
  unshare: [namespaces: string];
  /**
   * fstype, source, target, comma-separated flags (nosuid,nodev,noexec,ro,…), data, working directory ("" or absolute; for
   * short lowerdir links), root: "" takes the target as it is, else it is resolved inside that root and made when missing
   */
  mount: [
    fstype: string,
    source: string,
    target: string,
    flags: string,
    data: string,
    workingDirectory: string,
    root: string,
  ];
  /**
   * absolute path of a program that serves a file system in user space, target on the host, its -o options, working directory
   * ("" or absolute). Done when the program has left its work to a process behind it
   */
  "mount-program": [program: string, target: string, options: string, workingDirectory: string];
  /**
   * source, target, flags (rec,ro,private,rprivate,…), where the target is resolved: `host` as it is, `root` inside the new
   * root (argument root) by openat2(RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS), created when missing: `dir`, `file` or `none`
   */
  bind: [source: string, target: string, flags: string, root: string, create: "dir" | "file" | "none"];
  /** target, flags; an existing mount's flags or propagation (`rprivate`, `slave`, …) changed */
  remount: [target: string, flags: string];
  /** moves the mount at source to target (MS_MOVE) */
  move: [source: string, target: string];
  /** path inside root, type c|b|p, octal mode, major, minor, uid, gid */
  mknod: [
    path: string,
    type: string,
    mode: string,
    major: string,
    minor: string,
    uid: string,
    gid: string,
    root: string,
  ];
  /** what the link says, path inside root */
  symlink: [text: string, path: string, root: string];
  /** a directory made when missing: path inside root, octal mode, uid, gid; parents too */
  mkdir: [path: string, mode: string, uid: string, gid: string, root: string];
  /** root becomes /; the old root is detached. `chroot` as the method moves the mount first, then chroots */
  "pivot-root": [root: string, method: "pivot" | "chroot"];
  sethostname: [name: string];
  setdomainname: [name: string];
  /** dotted or slashed key below /proc/sys, value */
  sysctl: [key: string, value: string];
  /** a path hidden: a directory by an empty read-only tmpfs, a file by /dev/null; a missing path is no error */
  mask: [path: string];
  /** a path made read-only by a bind of itself; a missing path is no error */
  "read-only-path": [path: string];
  /** resource name (nofile, …), soft, hard (decimal or `unlimited`). EPERM on raising keeps what may be had, and is reported */
  rlimit: [resource: string, soft: string, hard: string];
  "oom-score": [value: string];
  /** a new session keyring of that name */
  keyring: [name: string];
  umask: [octal: string];
  /** `pty`: the slave by TIOCGPTPEER becomes 0, 1, 2 and the controlling terminal; `pipes`: setsid only */
  session: [kind: "pty" | "pipes"];
  /** setgid, setuid to these, decimal. Pipes and terminals on 0, 1, 2 become the user's first, so that it may open /dev/stdout */
  user: [uid: string, gid: string];
  /** supplementary groups, comma-separated decimal, may be empty */
  groups: [gids: string];
  /**
   * phase `keep`: PR_SET_KEEPCAPS and the bounding set is cut; `final`: effective, permitted, inheritable, ambient are set.
   * Then the four sets and the bounding set as hexadecimal masks
   */
  capabilities: [
    phase: "keep" | "final",
    bounding: string,
    effective: string,
    permitted: string,
    inheritable: string,
    ambient: string,
  ];
  "no-new-privs": [];
  /** a BPF program as hexadecimal of its sock_filter array, flags (log, …) */
  seccomp: [program: string, flags: string];
  /** closes every descriptor from this one on */
  "close-range": [first: string];
  chdir: [path: string];
  /** file (absolute, or looked up in the PATH of the environment), argc, arguments, environment */
  exec: [file: string, argumentCount: string, ...rest: string[]];
}

export type OpName = keyof OpArguments;

/** One op. `reason` is for people (`explain`) and does not reach the helper. */
export interface Op<Name extends OpName = OpName> {
  readonly actor: Actor;
  readonly name: Name;
  readonly arguments: readonly string[];
  readonly reason: string;
}

/** What the monitor is told beside the ops; docs/flows/monitor-protocol.md lists the keys. */
export type PlanSettings = Readonly<Record<string, string>>;

export interface Plan {
  readonly settings: PlanSettings;
  readonly ops: readonly Op[];
}

/** Limits that the helper enforces too. */
export const planLimits = { sizeBytes: 16 * 1024 * 1024, ops: 4096, argumentsPerOp: 65_536 } as const;

export function op<Name extends OpName>(actor: Actor, name: Name, args: OpArguments[Name], reason: string): Op<Name> {
  return { actor, name, arguments: args, reason };
}

/**
 * The bytes the helper reads. All fields are UTF-8 text, each ended by NUL:
 * `vitrine-plan` version settingCount (key value)* opCount (actor name argumentCount argument*)*
 */
export function encodePlan(plan: Plan): Uint8Array {
  const settings = Object.entries(plan.settings);
  const fields = [
    "vitrine-plan",
    String(planVersion),
    String(settings.length),
    ...settings.flat(),
    String(plan.ops.length),
  ];
  for (const { actor, name, arguments: args } of plan.ops) fields.push(actor, name, String(args.length), ...args);
  for (const field of fields) {
    if (field.includes("\0"))
      throw new EngineError("invalidArgument", `${JSON.stringify(field)} holds a NUL byte, which a plan cannot carry`);
  }
  return Buffer.from(`${fields.join("\0")}\0`, "utf8");
}

/** The reverse of `encodePlan`, for tools that show a plan from disk; reasons are not in the bytes. */
export function decodePlan(bytes: Uint8Array): Plan {
  const fields = Buffer.from(bytes).toString("utf8").split("\0");
  let next = 0;
  const take = (): string => {
    const field = fields[next++];
    if (field === undefined || next >= fields.length) throw new EngineError("invalidArgument", "The plan ends early");
    return field;
  };
  const takeMany = (count: number): string[] => Array.from({ length: count }, take);
  if (take() !== "vitrine-plan" || Number(take()) !== planVersion) {
    throw new EngineError("invalidArgument", `Not a plan of version ${planVersion}`);
  }
  const settings: Record<string, string> = {};
  for (let left = Number(take()); left > 0; left--) settings[take()] = take();
  const ops: Op[] = [];
  for (let left = Number(take()); left > 0; left--) {
    ops.push({ actor: take() as Actor, name: take() as OpName, arguments: takeMany(Number(take())), reason: "" });
  }
  return { settings, ops };
}
