import type { Op, OpName, Plan } from "../spec/index.ts";
import { childLines } from "./script-child.ts";
import { finalLines } from "./script-final.ts";
import { quote } from "./shell-quote.ts";

/** Ops that a script does last, in the host's shell that runs inside of the new root. */
const finalOps = new Set<OpName>([
  "pivot-root",
  "session",
  "umask",
  "groups",
  "user",
  "capabilities",
  "no-new-privs",
  "seccomp",
  "close-range",
  "chdir",
  "exec",
  "sync",
]);

/**
 * A bash script that does what the plan of a container's start does, with the tools of util-linux (unshare, nsenter, mount,
 * pivot_root, setpriv), as root and with no engine: process 1 of its own namespaces, its own hostname, the same mounts in the same
 * order. Two things differ and are said in it: the new root is entered last, since the host's tools are not in it, so paths are not
 * resolved inside the root; and what no shell can do is a comment.
 */
export function explainScript(plan: Plan): string {
  const monitor = plan.ops.filter(({ actor }) => actor === "monitor");
  const child = plan.ops.filter(({ actor }) => actor === "child");
  const root = child.find(({ name }) => name === "pivot-root")?.arguments[0] ?? "/";
  const entered = child.filter(({ name }) => name === "setns");
  const joins = child.filter(({ name }) => name === "join-cgroup");
  const rest = child.filter(({ name }) => name !== "setns" && name !== "join-cgroup" && name !== "unshare");
  const inside = rest.filter(({ name }) => !finalOps.has(name));
  const last = rest.filter(({ name }) => finalOps.has(name));
  return [
    ...preamble(plan, root),
    "",
    "# ── on the host: what the monitor does ──",
    ...monitor.flatMap(monitorLines),
    "",
    "# ── the container's process, up to its new root; it runs with the host's tools, in namespaces of its own ──",
    ...document("prepare", [
      "set -eu",
      ...inside.flatMap((op) => commented(op, childLines(op, root))),
      ...finalLines(last, root).outside,
    ]),
    "",
    "# ── from here on the root is the container's: only the host's shell is still in memory ──",
    ...document("finish", finalLines(last, root).inside),
    "export prepare finish",
    "",
    ...(joins.length > 0 ? ["# ── its groups; the limits in them are the engine's to write ──"] : []),
    ...joins.map((op) => `make_group ${quote(op.arguments[0] ?? "")}`),
    "",
    "# ── it is born ──",
    "set +e",
    "(",
    ...joins.flatMap((op) => commented(op, [`join_group ${quote(op.arguments[0] ?? "")}`])).map((line) => `  ${line}`),
    ...bornLines(plan, entered).map((line) => `  ${line}`),
    ")",
    "exit $?",
    "",
  ].join("\n");
}

/** What must be on the host before the script begins, to be bound into the new root: all that no op makes or finds in a group. */
function boundFiles({ ops }: Plan): string[] {
  const made = ops.flatMap(({ name, arguments: [first = "", , third = ""] }) =>
    name === "mount" ? [third] : name === "join-cgroup" ? [first] : [],
  );
  return ops.flatMap(({ name, arguments: [source = "", , , root] }) =>
    name === "bind" && root !== "" && !made.includes(source) ? [source] : [],
  );
}

function preamble(plan: Plan, root: string): string[] {
  return [
    "#!/bin/bash",
    "# What the engine does to start this container, as a shell script: run it as root while the container is stopped.",
    "# Needs bash, util-linux (unshare, nsenter, mount, pivot_root, setpriv, findmnt) and coreutils.",
    `# Container ${plan.settings["id"] ?? "(none)"}, ${plan.ops.length} operations.`,
    "set -euo pipefail",
    "# mount(8)'s newer interface cuts long options.",
    "export LIBMOUNT_FORCE_MOUNT2=always",
    "# The container has not the host's languages.",
    "export LC_ALL=C",
    `root=${quote(root)}`,
    "export root",
    'if mountpoint -q "$root"; then echo "$root is mounted: the container is running" >&2; exit 125; fi',
    // Of an image, the engine explains a container that it made for the explanation alone.
    'if [ ! -d "$(dirname "$root")" ]; then echo "The container of this script is gone: run one (vitrine run IMAGE) and explain that" >&2; exit 125; fi',
    `for file in ${boundFiles(plan).map(quote).join(" ")}; do if [ ! -e "$file" ]; then echo "$file is not there: the engine writes it when it starts the container for the first time (vitrine start)" >&2; exit 125; fi; done`,
    "undo=()",
    'clean_up() { local i; for ((i = ${#undo[@]} - 1; i >= 0; i--)); do eval "${undo[i]}" || true; done; }',
    "trap clean_up EXIT",
    "",
    "# A group of cgroup v1's cpuset takes no process before it has processors and memory of its parent's.",
    "make_group() {",
    '  [ -d "$1" ] && return',
    '  make_group "$(dirname "$1")"',
    '  mkdir "$1"; undo+=("remove_group $(printf %q "$1")")',
    "  local file; for file in cpuset.cpus cpuset.mems; do",
    '    if [ -e "$1/$file" ] && [ -z "$(cat "$1/$file")" ]; then cat "$1/../$file" >"$1/$file" || true; fi',
    "  done",
    "}",
    "# A process that has ended may be counted for a moment more.",
    'remove_group() { local i; for i in {1..50}; do rmdir "$1" 2>/dev/null && return; sleep 0.02; done; }',
    'join_group() { echo "$BASHPID" >"$1/cgroup.procs"; }',
  ];
}

/** A here-document kept in a variable, so that the shell that is started in the namespaces can be given it. */
function document(name: string, lines: readonly string[]): string[] {
  return [`${name}=$(cat <<'END_OF_${name.toUpperCase()}'`, ...lines, `END_OF_${name.toUpperCase()}`, ")"];
}

function commented(op: Op, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : [`# ${op.name}: ${op.reason}`, ...lines];
}

function monitorLines(op: Op): string[] {
  const [type = "", source = "", target = "", flags = "", data = "", directory = ""] = op.arguments;
  if (op.name === "mount") {
    const options = [flags, data].filter((part) => part !== "").join(",");
    const mount = `mount -t ${quote(type)} ${options === "" ? "" : `-o ${quote(options)} `}${quote(source)} ${quote(target)}`;
    const undo = `undo+=(${quote(`umount -l ${quote(target)}`)})`;
    const inDirectory = directory === "" ? mount : `(cd ${quote(directory)} && ${mount})`;
    return commented(op, [`mkdir -p ${quote(target)}`, inDirectory, undo]);
  }
  if (op.name === "mount-program") {
    const run = `${quote(type)} -o ${quote(target)} ${quote(source)}`;
    return commented(op, [
      flags === "" ? run : `(cd ${quote(flags)} && ${run})`,
      `undo+=(${quote(`umount -l ${quote(source)}`)})`,
    ]);
  }
  if (op.name === "bind") {
    return commented(op, [
      `mount --rbind ${quote(type)} ${quote(source)}`,
      `undo+=(${quote(`umount -l ${quote(source)}`)})`,
    ]);
  }
  // clone and a pid namespace to be born in: below, where the process is made.
  return [];
}

const unshareFlags: Readonly<Record<string, string>> = {
  mnt: "--mount --propagation unchanged",
  pid: "--pid --fork --kill-child",
  uts: "--uts",
  ipc: "--ipc",
  net: "--net",
  cgroup: "--cgroup",
};

/** nsenter for what is joined, unshare for what is new, then the prepared shell. */
function bornLines(plan: Plan, entered: readonly Op[]): string[] {
  const clone = plan.ops.find(({ name }) => name === "clone");
  const fresh = (clone?.arguments[0] ?? "").split(",").filter((name) => name !== "");
  const unshared = plan.ops
    .filter(({ name }) => name === "unshare")
    .flatMap((op) => (op.arguments[0] ?? "").split(","));
  const pids = plan.ops.filter(({ actor, name }) => actor === "monitor" && name === "setns");
  const lines = ["enter=()", `new=(${[...fresh, ...unshared].map((name) => unshareFlags[name] ?? "").join(" ")})`];
  for (const op of [...pids, ...entered]) {
    const [type = "", path = ""] = op.arguments;
    const option = type === "mnt" ? "mount" : type;
    lines.push(`# setns: ${op.reason}`);
    const enter = `enter+=(--${option}=${quote(path)})`;
    // With the engine stopped, a network that was made for this container may be gone.
    lines.push(type === "net" ? `if [ -e ${quote(path)} ]; then ${enter}; else new+=(--net); fi` : enter);
  }
  const comment = clone ? [`# clone: ${clone.reason}`] : [];
  return [
    ...lines,
    ...comment,
    'if ((${#enter[@]})); then exec nsenter "${enter[@]}" -- unshare "${new[@]}" bash -c "$prepare"; fi',
    'exec unshare "${new[@]}" bash -c "$prepare"',
  ];
}
