import { EngineError } from "../common/index.ts";
import { defaultSeccompProfile, type SeccompProfile } from "./seccomp-profile.ts";

/** What `--security-opt` decides. `seccomp` undefined: unconfined. */
export interface SecurityOptions {
  readonly seccomp: SeccompProfile | undefined;
  /** Nobody asked for a profile: a privileged container then has none. */
  readonly seccompIsDefault: boolean;
  readonly noNewPrivileges: boolean;
  readonly writableCgroups: boolean;
}

/** Profiles are sent whole by the client, so the same text comes with every start: parsed once. */
const parsedProfiles = new Map<string, SeccompProfile>();
const maxParsedProfiles = 16;
const maxProfileBytes = 1024 * 1024;

/**
 * Reads HostConfig.SecurityOpt as dockerd does: `no-new-privileges[=BOOL]`, `seccomp=unconfined|builtin|JSON`,
 * `writable-cgroups[=BOOL]`, `label=disable`, `apparmor=unconfined`; `:` separates as `=` does. Throws invalidArgument in Docker's
 * words for what Docker refuses, unsupported for AppArmor profiles and SELinux labels.
 */
export function parseSecurityOptions(options: readonly string[]): SecurityOptions {
  let seccomp: SeccompProfile | undefined = defaultSeccompProfile;
  let seccompIsDefault = true;
  let noNewPrivileges = false;
  let writableCgroups = false;
  for (const option of options) {
    const separator = option.includes("=") ? "=" : ":";
    const at = option.indexOf(separator);
    const key = at < 0 ? option : option.slice(0, at);
    const value = at < 0 ? undefined : option.slice(at + 1);
    switch (key) {
      case "no-new-privileges":
        noNewPrivileges = parseFlag(option, value);
        break;
      case "writable-cgroups":
        writableCgroups = parseFlag(option, value);
        break;
      case "seccomp":
        seccomp = parseSeccomp(option, value);
        seccompIsDefault = false;
        break;
      case "disable":
        break;
      case "label":
      case "apparmor":
        refuseUnlessOff(option, { key, value });
        break;
      default:
        throw new EngineError("invalidArgument", `invalid --security-opt ${value === undefined ? 1 : 2}: "${option}"`);
    }
  }
  return { seccomp, seccompIsDefault, noNewPrivileges, writableCgroups };
}

function parseFlag(option: string, value: string | undefined): boolean {
  if (value === undefined || /^(1|t|true)$/i.test(value)) return true;
  if (/^(0|f|false)$/i.test(value)) return false;
  throw new EngineError("invalidArgument", `invalid --security-opt 2: "${option}"`);
}

function refuseUnlessOff(option: string, { key, value }: { key: string; value: string | undefined }): void {
  const off = key === "label" ? "disable" : "unconfined";
  if (value === undefined) throw new EngineError("invalidArgument", `invalid --security-opt 1: "${option}"`);
  if (value === off) return;
  const what = key === "label" ? "SELinux labels" : "AppArmor profiles";
  throw new EngineError(
    "unsupported",
    `--security-opt "${option}" is refused: ${what} are not supported, only ${key}=${off}`,
  );
}

function parseSeccomp(option: string, value: string | undefined): SeccompProfile | undefined {
  if (value === undefined) throw new EngineError("invalidArgument", `invalid --security-opt 1: "${option}"`);
  if (value === "unconfined") return undefined;
  if (value === "builtin") return defaultSeccompProfile;
  const known = parsedProfiles.get(value);
  if (known) return known;
  if (value.length > maxProfileBytes) {
    throw new EngineError(
      "invalidArgument",
      `seccomp profile of ${value.length} bytes is larger than ${maxProfileBytes}`,
    );
  }
  const profile = decodeProfile(value);
  if (parsedProfiles.size >= maxParsedProfiles) parsedProfiles.clear();
  parsedProfiles.set(value, profile);
  return profile;
}

/** Checks the shape only; names and actions are the compiler's. */
function decodeProfile(text: string): SeccompProfile {
  let decoded: unknown;
  try {
    decoded = JSON.parse(text);
  } catch (cause) {
    const words = cause instanceof Error ? cause.message : String(cause);
    throw new EngineError("invalidArgument", `Decoding seccomp profile failed: ${words}`, { cause });
  }
  if (!isRecord(decoded)) throw malformed("the profile");
  if (decoded["defaultAction"] !== undefined && typeof decoded["defaultAction"] !== "string") {
    throw malformed("defaultAction");
  }
  const lists = ["syscalls", "archMap", "architectures", "flags"];
  for (const name of lists) {
    const list = decoded[name] ?? [];
    if (!Array.isArray(list)) throw malformed(name);
    const rightItem = name === "syscalls" || name === "archMap" ? isRecord : isText;
    if (!list.every(rightItem)) throw malformed(`an entry of ${name}`);
  }
  for (const rule of (decoded["syscalls"] ?? []) as Record<string, unknown>[]) {
    if (!isTextList(rule["names"]) || !(rule["name"] === undefined || isText(rule["name"]))) throw malformed("names");
    if (!Array.isArray(rule["args"] ?? []) || !((rule["args"] ?? []) as unknown[]).every(isRecord))
      throw malformed("args");
    for (const filter of [rule["includes"] ?? {}, rule["excludes"] ?? {}]) {
      if (!isRecord(filter) || !isTextList(filter["caps"]) || !isTextList(filter["arches"]))
        throw malformed("a filter");
    }
  }
  return decoded as unknown as SeccompProfile;
}

function malformed(what: string): EngineError {
  return new EngineError("invalidArgument", `Decoding seccomp profile failed: ${what} has the wrong type`);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isText(value: unknown): value is string {
  return typeof value === "string";
}

function isTextList(value: unknown): boolean {
  return value === undefined || value === null || (Array.isArray(value) && value.every(isText));
}
