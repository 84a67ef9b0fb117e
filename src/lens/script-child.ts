import type { Op } from "../spec/index.ts";
import { inRoot, quote } from "./shell-quote.ts";

const propagationWord = /^r?(private|slave|shared|unbindable)$/;

/** The lines that do what a child's op before the pivot does, with the root still below `$root`. */
export function childLines(op: Op, root: string): string[] {
  const [first = "", second = "", third = ""] = op.arguments;
  switch (op.name) {
    case "mount":
      return mountLines(op.arguments, root);
    case "bind":
      return bindLines(op, root);
    case "remount":
      return remountLines(first, { words: second.split(","), root });
    case "mknod":
      return mknodLines(op.arguments, root);
    case "symlink":
      return [`[ -L ${inRoot(second, root)} ] || ln -s ${quote(first)} ${inRoot(second, root)}`];
    case "mkdir":
      return [`mkdir -p -m ${second} ${inRoot(first, root)}`];
    case "sethostname":
      return [`echo ${quote(first)} >/proc/sys/kernel/hostname`];
    case "setdomainname":
      return [`echo ${quote(first)} >/proc/sys/kernel/domainname`];
    case "sysctl":
      return [`echo ${quote(second)} >/proc/sys/${first.includes("/") ? first : first.replaceAll(".", "/")} || true`];
    case "read-only-path":
      return readOnlyLines(inRoot(first, root));
    case "mask":
      return maskLines(inRoot(first, root));
    case "rlimit":
      return rlimitLines(first, { soft: second, hard: third });
    case "oom-score":
      return [`echo ${first} >/proc/self/oom_score_adj || true`];
    case "keyring":
      return [`# keyctl session ${quote(first)}, if keyutils are there; a shell cannot join a keyring by itself.`];
    case "send-fd":
      return [
        "# A terminal of the container's own: its other end would have to be passed to another process, which a shell cannot.",
      ];
    default:
      return [`# ${op.name} ${op.arguments.map(quote).join(" ")}: no tool of a shell does this.`];
  }
}

function mountLines(values: readonly string[], root: string): string[] {
  const [type = "", source = "", target = "", flags = "", data = ""] = values;
  const words = flags.split(",").filter((word) => word !== "" && !propagationWord.test(word));
  const options = [...words, ...(data === "" ? [] : [data])].join(",");
  const path = inRoot(target, root);
  const propagation = flags.split(",").find((word) => propagationWord.test(word));
  return [
    `mkdir -p ${path}`,
    `mount -t ${quote(type)} ${options === "" ? "" : `-o ${quote(options)} `}${quote(source === "" ? "none" : source)} ${path}`,
    ...(propagation ? [`mount --make-${propagation} ${path}`] : []),
  ];
}

function bindLines(op: Op, root: string): string[] {
  const [source = "", target = "", flags = "", inside = "", create = "dir"] = op.arguments;
  // Only the terminal is bound from inside of the new root, and there is none here.
  if (source.startsWith("/dev/pts/")) return ["# Bound onto /dev/console, where there is a terminal."];
  const words = flags.split(",").filter((word) => word !== "");
  const path = inside === "" && !target.startsWith(root) ? quote(target) : inRoot(target, root);
  const from = source === root ? '"$root"' : quote(source);
  const make =
    create === "file" ? `[ -e ${path} ] || { mkdir -p "$(dirname ${path})"; touch ${path}; }` : `mkdir -p ${path}`;
  const attributes = words
    .filter((word) => word !== "rec" && !propagationWord.test(word))
    .map((word) => (word === "rro" ? "ro" : word));
  const propagation = words.find((word) => propagationWord.test(word));
  return [
    ...(create === "none" ? [] : [make]),
    `mount --${words.includes("rec") ? "rbind" : "bind"} ${from} ${path}`,
    ...(propagation ? [`mount --make-${propagation} ${path}`] : []),
    ...(attributes.length > 0 ? [addAttributes(path, attributes)] : []),
  ];
}

/** A remount replaces all attributes of a mount, so what it has is named again. */
function addAttributes(path: string, attributes: readonly string[]): string {
  return `mount -o "remount,bind,$(findmnt -n -o VFS-OPTIONS --mountpoint ${path} | tail -n 1),${attributes.join(",")}" ${path}`;
}

function remountLines(target: string, { words, root }: { words: readonly string[]; root: string }): string[] {
  const propagation = words.find((word) => propagationWord.test(word));
  if (propagation) return [`mount --make-${propagation} ${target === "/" ? "/" : inRoot(target, root)}`];
  return [addAttributes(inRoot(target, root), words)];
}

function mknodLines(values: readonly string[], root: string): string[] {
  const [path = "", type = "", mode = "", major = "", minor = "", uid = "0", gid = "0"] = values;
  const target = inRoot(path, root);
  const numbers = type === "p" ? "" : ` ${major} ${minor}`;
  const own = uid === "0" && gid === "0" ? "" : ` && chown ${uid}:${gid} ${target}`;
  const folder = path.slice(0, path.lastIndexOf("/"));
  const make = folder === "/dev" ? "" : `mkdir -p ${inRoot(folder, root)}; `;
  return [`${make}[ -e ${target} ] || { mknod -m ${mode} ${target} ${type}${numbers}${own}; }`];
}

function readOnlyLines(path: string): string[] {
  return [`if [ -e ${path} ]; then mount --rbind ${path} ${path}; ${addAttributes(path, ["ro"])}; fi`];
}

/** The first hidden directory gets an empty tmpfs, the others the same one again; a file gets /dev/null. */
function maskLines(path: string): string[] {
  return [
    `if [ -d ${path} ]; then`,
    `  if [ -z "\${empty:-}" ]; then empty=${path}; mount -t tmpfs none ${path}; mount -o remount,bind,ro,nosuid,nodev,noexec ${path}`,
    `  else mount --bind "$empty" ${path}; fi`,
    `elif [ -e ${path} ]; then mount --bind "$root"/dev/null ${path}; fi`,
  ];
}

/** bash's letters for setrlimit(2)'s names; sizes are in blocks of 1024 bytes but for core and fsize, which POSIX has at 512. */
const ulimitLetters: Readonly<Record<string, readonly [letter: string, unitBytes: number]>> = {
  as: ["v", 1024],
  core: ["c", 1024],
  cpu: ["t", 1],
  data: ["d", 1024],
  fsize: ["f", 1024],
  locks: ["x", 1],
  memlock: ["l", 1024],
  msgqueue: ["q", 1],
  nice: ["e", 1],
  nofile: ["n", 1],
  nproc: ["u", 1],
  rss: ["m", 1024],
  rtprio: ["r", 1],
  sigpending: ["i", 1],
  stack: ["s", 1024],
};

function rlimitLines(name: string, { soft, hard }: { soft: string; hard: string }): string[] {
  const known = ulimitLetters[name];
  if (!known) return [`# rlimit ${name}: bash has no letter for it.`];
  const [letter, unitBytes] = known;
  const value = (text: string) => (text === "unlimited" ? text : String(Math.floor(Number(text) / unitBytes)));
  return [`ulimit -S${letter} ${value(soft)} && ulimit -H${letter} ${value(hard)} || true`];
}
