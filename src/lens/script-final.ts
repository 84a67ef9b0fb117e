import { capabilitiesOf } from "../runtime/index.ts";
import type { Op } from "../spec/index.ts";
import { quote } from "./shell-quote.ts";

/**
 * The end of a start: the pivot, the identity, the program. The host's tools are gone with the old root, so a descriptor of it is
 * kept until the last moment, and the two tools that are still needed are started from there by the host's own loader.
 */
export function finalLines(ops: readonly Op[], root: string): { outside: string[]; inside: string[] } {
  const find = (name: Op["name"]) => ops.find((op) => op.name === name);
  const reasonOf = (name: Op["name"]) => `# ${name}: ${find(name)?.reason ?? ""}`;
  const chroot = find("pivot-root")?.arguments[1] === "chroot";
  const program = find("exec");
  const count = Number(program?.arguments[1] ?? 0);
  const words = program?.arguments.slice(2, 2 + count) ?? [];
  const environment = program?.arguments.slice(2 + count) ?? [];
  const [uid = "0", gid = "0"] = find("user")?.arguments ?? [];
  const outside = [
    reasonOf("umask"),
    `umask ${find("umask")?.arguments[0] ?? "022"}`,
    "# The host's own loader and libraries, to be found through descriptor 9 once the host's root is out of sight.",
    'loader=$(readlink -f "$(ldd "$(command -v setpriv)" | awk \'/ld-linux/ { print $1; exit }\')")',
    "libraries=$(for tool in setpriv umount bash; do ldd \"$(command -v $tool)\"; done | awk '$3 ~ /^\\// { print $3 }' |",
    '  while read -r file; do dirname "$(readlink -f "$file")"; done | sort -u | sed \'s|^|/proc/self/fd/9|\' | paste -sd:)',
    'setpriv=$(readlink -f "$(command -v setpriv)"); umount=$(readlink -f "$(command -v umount)"); shell=$(readlink -f /bin/bash)',
    'host() { "/proc/self/fd/9$loader" --library-path "$libraries" "/proc/self/fd/9$@"; }',
    "exec 9</",
    'cd "$root"',
    reasonOf("pivot-root"),
    ...(chroot ? ["mount --move . /"] : ["pivot_root . .", 'host "$umount" -l .', "cd /"]),
    "# sync: the engine writes the process number down here, and gives leave.",
    reasonOf("session"),
    "# The script stays in your terminal's session, so that Ctrl-C ends it.",
    ...seccompComment(find("seccomp")),
    reasonOf("groups"),
    reasonOf("user"),
    reasonOf("capabilities"),
    `exec ${chroot ? "chroot . " : ""}"/proc/self/fd/9$loader" --library-path "$libraries" "/proc/self/fd/9$setpriv" ${identity(ops, { uid, gid })} \\`,
    '  "/proc/self/fd/9$loader" --library-path "$libraries" "/proc/self/fd/9$shell" -c "$finish"',
  ];
  const inside = [
    reasonOf("close-range"),
    'for file in /proc/self/fd/*; do number=${file##*/}; ((number > 2 && number != 255)) && eval "exec $number<&-"; done',
    'for name in $(compgen -e); do unset "$name"; done',
    ...environment.map((variable) => `export ${quote(variable)}`),
    reasonOf("chdir"),
    `cd ${quote(find("chdir")?.arguments[0] ?? "/")}`,
    "unset PWD OLDPWD SHLVL",
    reasonOf("exec"),
    `exec ${words.map(quote).join(" ")}`,
  ];
  return { outside: root === "/" ? [] : outside, inside };
}

function seccompComment(op: Op | undefined): string[] {
  if (!op) return [];
  const instructions = (op.arguments[0] ?? "").length / 16;
  return [
    `# seccomp: ${op.reason}`,
    `# The filter has ${instructions} instructions; a shell cannot set it, so here every system call is allowed.`,
  ];
}

/** setpriv(1)'s options for groups, user, capabilities and no-new-privs. */
function identity(ops: readonly Op[], { uid, gid }: { uid: string; gid: string }): string {
  const groups = ops.find(({ name }) => name === "groups")?.arguments[0] ?? "";
  const keep = ops.find(({ name, arguments: [phase] }) => name === "capabilities" && phase === "keep");
  const bounding = capabilitiesOf(keep?.arguments[1] ?? "0").map((name) => name.replace("CAP_", "").toLowerCase());
  const sets = ["-all", ...bounding.map((name) => `+${name}`)].join(",");
  return [
    `--reuid ${uid} --regid ${gid}`,
    groups === "" ? "--clear-groups" : `--groups ${groups}`,
    `--bounding-set ${sets} --inh-caps -all --ambient-caps -all`,
    ...(ops.some(({ name }) => name === "no-new-privs") ? ["--no-new-privs"] : []),
    "--",
  ].join(" ");
}
