import { EngineError } from "../common/index.ts";

/** Flags of mount(2) and mount_setattr(2) by their names in mount(8), as the helper knows them. */
const flagNames = new Set([
  "ro",
  "rro",
  "nosuid",
  "nodev",
  "noexec",
  "relatime",
  "noatime",
  "strictatime",
  "nodiratime",
  "nosymfollow",
  "sync",
  "dirsync",
]);

/** Names that ask for what is so anyway, each with the flag it takes back. */
const opposites: Readonly<Record<string, string>> = {
  rw: "ro",
  suid: "nosuid",
  dev: "nodev",
  exec: "noexec",
  atime: "noatime",
  diratime: "nodiratime",
  async: "sync",
  norelatime: "relatime",
  nostrictatime: "strictatime",
  defaults: "",
};

const propagationNames = new Set([
  "private",
  "rprivate",
  "slave",
  "rslave",
  "shared",
  "rshared",
  "unbindable",
  "runbindable",
]);

/** Options of mount(8) by what becomes of them. */
export interface SplitOptions {
  readonly flags: readonly string[];
  readonly data: readonly string[];
  readonly propagation: string | undefined;
  readonly bind: "bind" | "rbind" | undefined;
}

/** Sorts mount(8)'s options into flags, propagation and what only the file system understands; a later option takes back an earlier one. */
export function splitMountOptions(options: readonly string[]): SplitOptions {
  const flags = new Set<string>();
  const data: string[] = [];
  let propagation: string | undefined;
  let bind: SplitOptions["bind"];
  for (const option of options) {
    const opposite = opposites[option];
    if (flagNames.has(option)) flags.add(option);
    else if (opposite !== undefined) flags.delete(opposite);
    else if (propagationNames.has(option)) propagation = option;
    else if (option === "bind" || option === "rbind") bind = option;
    else if (option !== "") data.push(option);
  }
  return { flags: [...flags], data, propagation, bind };
}

const tmpfsFlags = new Set([
  "ro",
  "rw",
  "suid",
  "nosuid",
  "dev",
  "nodev",
  "exec",
  "noexec",
  "sync",
  "async",
  "dirsync",
]);
const tmpfsTimes = new Set(["atime", "noatime", "diratime", "nodiratime", "relatime", "norelatime", "strictatime"]);
const tmpfsValues = new Set(["mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol", "size"]);

/**
 * Options of `--tmpfs PATH[:OPTIONS]` on top of Docker's `noexec,nosuid,nodev`; a later option overrides an earlier one of the
 * same kind. Throws invalidArgument for one that a tmpfs has not, since the file system's own options can do more than a user may.
 */
export function tmpfsOptions(text: string): string[] {
  const merged = new Map<string, string>([
    ["exec", "noexec"],
    ["suid", "nosuid"],
    ["dev", "nodev"],
  ]);
  for (const option of text.split(",").filter((word) => word !== "")) {
    const [name = "", value] = option.split("=", 2);
    const known = value === undefined ? tmpfsFlags.has(name) || tmpfsTimes.has(name) : tmpfsValues.has(name);
    if (!known && !(value === undefined && propagationNames.has(name))) {
      throw new EngineError("invalidArgument", `Invalid tmpfs option "${option}"`);
    }
    merged.set(value === undefined ? kindOf(name) : name, option);
  }
  return [...merged.values()];
}

/** Options of one kind exclude each other. */
function kindOf(flag: string): string {
  if (flag === "ro" || flag === "rw") return "rw";
  if (propagationNames.has(flag)) return "propagation";
  return flag === "async" ? "sync" : flag.replace(/^no/, "");
}
