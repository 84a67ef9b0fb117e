import type { OciProcess, OciSeccomp, Op } from "../spec/index.ts";
import { op } from "../spec/index.ts";
import { capabilityMask } from "./capabilities.ts";
import { unlimited } from "./rlimits.ts";
import { seccompProgram } from "./seccomp.ts";

/** Descriptors 0, 1 and 2 are the program's; all others are ours. */
const firstForeignDescriptor = "3";

const seccompFlagNames: Readonly<Record<string, string>> = {
  SECCOMP_FILTER_FLAG_LOG: "log",
  SECCOMP_FILTER_FLAG_SPEC_ALLOW: "spec-allow",
  SECCOMP_FILTER_FLAG_TSYNC: "tsync",
};

/** What a process inherits and no namespace covers: resource limits, its chance with the OOM killer, its keyring. */
export function limitOps(process: OciProcess, keyringName: string): Op[] {
  const rlimits = (process.rlimits ?? []).map(({ type, soft, hard }) => {
    const name = type.replace("RLIMIT_", "").toLowerCase();
    const reason = `--ulimit ${name}: the kernel enforces it for each process by itself`;
    return op("child", "rlimit", [name, limitText(soft), limitText(hard)], reason);
  });
  return [
    op(
      "child",
      "oom-score",
      [String(process.oomScoreAdj ?? 0)],
      "How readily the kernel kills it when memory runs out; the engine's own value must not be inherited",
    ),
    ...rlimits,
    op(
      "child",
      "keyring",
      [keyringName],
      "A session keyring of its own: keys have no namespace, and the host's must not be reachable",
    ),
  ];
}

function limitText(value: number): string {
  return value >= unlimited ? "unlimited" : String(value);
}

/** Session and umask: the last things done as root that the program will see. */
export function sessionOps(process: OciProcess): Op[] {
  const terminal = process.terminal ?? false;
  const umask = (process.user.umask ?? 0o022).toString(8).padStart(3, "0");
  return [
    terminal
      ? op(
          "child",
          "session",
          ["pty"],
          "A new session whose controlling terminal is the container's own, so that Ctrl-C reaches it and nothing else",
        )
      : op("child", "session", ["pipes"], "A new session: no signal of the engine's terminal reaches it"),
    op("child", "umask", [umask], "Files that the program makes are not writable for others"),
  ];
}

/**
 * Who the process becomes, in the only order in which each step still may do what it does: giving up root comes before giving up
 * capabilities, and the filter comes while it may still be set.
 */
export function identityOps(process: OciProcess, seccomp: OciSeccomp | undefined): Op[] {
  const { uid, gid, additionalGids = [] } = process.user;
  const filter = seccomp ? [seccompOp(seccomp)] : [];
  const finalCapabilities = capabilitiesOp(process, "final");
  const privileges = process.noNewPrivileges
    ? [
        finalCapabilities,
        op("child", "no-new-privs", [], "From here on no exec gains rights, not even of a set-user-id program"),
        ...filter,
      ]
    : // Without no-new-privs only CAP_SYS_ADMIN may set a filter, and the final set lacks it.
      [...filter, finalCapabilities];
  return [
    op(
      "child",
      "groups",
      [additionalGids.join(",")],
      "Supplementary groups of the user, by the container's own /etc/group; root's are dropped",
    ),
    capabilitiesOp(process, "keep"),
    op(
      "child",
      "user",
      [String(uid), String(gid)],
      uid === 0
        ? "root of the container: the same number as the host's root, which is why the next steps matter"
        : "The user of the image or of --user, by the container's own /etc/passwd",
    ),
    ...privileges,
  ];
}

function capabilitiesOp(process: OciProcess, phase: "keep" | "final"): Op<"capabilities"> {
  const { bounding, effective, permitted, inheritable, ambient } = process.capabilities;
  const masks = [bounding, effective, permitted, inheritable, ambient].map(capabilityMask);
  const [b = "", e = "", p = "", i = "", a = ""] = masks;
  const reason =
    phase === "keep"
      ? `Cuts the bounding set to ${bounding.length} capabilities for good, and keeps the present ones across the change of user`
      : effective.length > 0
        ? `Root's power in pieces: it keeps ${effective.length} of them`
        : "Not root: no capability is left, only those that files give, up to the bounding set";
  return op("child", "capabilities", [phase, b, e, p, i, a], reason);
}

function seccompOp(seccomp: OciSeccomp): Op<"seccomp"> {
  const flags = seccomp.flags?.map((name) => seccompFlagNames[name] ?? name) ?? ["spec-allow"];
  const { hex, allowedNames } = seccompProgram(seccomp);
  const reason = `A filter that the kernel runs at every system call: ${allowedNames} names are allowed, newer ones answer "not implemented"`;
  return op("child", "seccomp", [hex, flags.join(",")], reason);
}

/** Closes what is the engine's, goes to the working directory, and becomes the program. */
export function execOps(process: OciProcess): Op[] {
  const [program = ""] = process.args;
  return [
    op("child", "close-range", [firstForeignDescriptor], "An open descriptor of the host would be a way out"),
    op(
      "child",
      "chdir",
      [process.cwd],
      "The working directory, entered as the user: what that user may not enter fails here",
    ),
    op(
      "child",
      "exec",
      [program, String(process.args.length), ...process.args, ...process.env],
      "The process replaces itself: same process number, same namespaces, now the program of the image",
    ),
  ];
}
