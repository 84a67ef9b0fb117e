import { EngineError } from "../common/index.ts";

/** One entry of OCI's linux.resources.devices (config-linux.md, "Allowed Device list"). */
export interface DeviceRule {
  readonly allow: boolean;
  /** `a` or absent: all types */
  readonly type?: "a" | "b" | "c" | "u" | "p" | undefined;
  /** -1, null or absent: all */
  readonly major?: number | null | undefined;
  readonly minor?: number | null | undefined;
  /** of `r`, `w`, `m`; absent: all three */
  readonly access?: string | undefined;
}

/** An exception to the default: -1 stands for every number. */
export interface DeviceException {
  readonly type: "b" | "c";
  readonly major: number;
  readonly minor: number;
  /** bits of `deviceAccess` */
  readonly access: number;
}

/** What a list of rules comes to. Both versions enforce exactly this, so that a rule means the same on each. */
export interface DevicePolicy {
  readonly defaultAllow: boolean;
  readonly exceptions: readonly DeviceException[];
}

/** Bits as in the kernel's device programs (linux/bpf.h, BPF_DEVCG_ACC_*). */
export const deviceAccess = { m: 1, r: 2, w: 4 } as const;
export const allAccess = 7;
const anyNumber = -1;

/**
 * Applies rules in order, the last one wins. A rule for all types sets the default and forgets the exceptions, as `a` in v1's files
 * does. Throws unsupported for a rule that would cut a hole in a wider one, which v1 cannot express.
 */
export function devicePolicy(rules: readonly DeviceRule[], start: DevicePolicy = openPolicy): DevicePolicy {
  let defaultAllow = start.defaultAllow;
  let exceptions = [...start.exceptions];
  for (const rule of rules) {
    const type = rule.type ?? "a";
    if (type === "a") {
      defaultAllow = rule.allow;
      exceptions = [];
      continue;
    }
    const change = toException(rule, type);
    exceptions =
      rule.allow === defaultAllow ? withoutException(exceptions, change, rule) : withException(exceptions, change);
  }
  return { defaultAllow, exceptions };
}

/** What a group starts with: everything. */
export const openPolicy: DevicePolicy = { defaultAllow: true, exceptions: [] };

/** `c 1:3 rwm`, as v1's files and Docker's `--device-cgroup-rule` write it. */
export function formatException({ type, major, minor, access }: DeviceException): string {
  return `${type} ${formatNumber(major)}:${formatNumber(minor)} ${formatAccess(access)}`;
}

/** Reads a v1 `devices.list`: `a *:* rwm`, or one exception a line to the default of denial. */
export function parseDeviceList(text: string): DevicePolicy {
  const exceptions: DeviceException[] = [];
  for (const line of text.split("\n")) {
    const [, type, major, minor, access] = /^([abc]) (\*|\d+):(\*|\d+) ([rwm]+)$/.exec(line) ?? [];
    if (type === "a") return openPolicy;
    if (type !== "b" && type !== "c") continue;
    exceptions.push({ type, major: parseNumber(major), minor: parseNumber(minor), access: parseAccess(access) });
  }
  return { defaultAllow: false, exceptions };
}

function formatNumber(value: number): string {
  return value === anyNumber ? "*" : String(value);
}

function parseNumber(text = "*"): number {
  return text === "*" ? anyNumber : Number(text);
}

function toException(rule: DeviceRule, type: string): DeviceException {
  // A FIFO is no device: the kernel checks none, and OCI's `u` is an old name of `c`.
  if (type !== "b" && type !== "c" && type !== "u") {
    throw new EngineError("invalidArgument", `Invalid device rule type "${type}": it must be a, b or c`);
  }
  const { major, minor } = rule;
  for (const number of [major, minor]) {
    if (number !== undefined && number !== null && (!Number.isInteger(number) || number < -1 || number > 0xffffffff)) {
      throw new EngineError("invalidArgument", `Invalid device number ${number} in a device rule`);
    }
  }
  return { type: type === "b" ? "b" : "c", major: major ?? -1, minor: minor ?? -1, access: parseAccess(rule.access) };
}

function parseAccess(text: string | undefined): number {
  if (text === undefined || text === "") return allAccess;
  let access = 0;
  for (const letter of text) {
    if (letter !== "r" && letter !== "w" && letter !== "m") {
      throw new EngineError("invalidArgument", `Invalid device access "${text}": it must be of r, w and m`);
    }
    access |= deviceAccess[letter];
  }
  return access;
}

function formatAccess(access: number): string {
  return (["r", "w", "m"] as const).filter((letter) => access & deviceAccess[letter]).join("");
}

function withException(exceptions: readonly DeviceException[], added: DeviceException): DeviceException[] {
  const same = exceptions.findIndex((one) => sameDevice(one, added));
  if (same < 0) return [...exceptions, added];
  return exceptions.map((one, index) => (index === same ? { ...one, access: one.access | added.access } : one));
}

function withoutException(
  exceptions: readonly DeviceException[],
  removed: DeviceException,
  rule: DeviceRule,
): DeviceException[] {
  const left: DeviceException[] = [];
  for (const one of exceptions) {
    const overlaps = meets(one, removed) && (one.access & removed.access) !== 0;
    if (overlaps && !covers(removed, one)) {
      throw new EngineError(
        "unsupported",
        `Cannot ${rule.allow ? "allow" : "deny"} device "${formatException(removed)}": it is part of the wider rule "${formatException(one)}"`,
      );
    }
    const access = overlaps ? one.access & ~removed.access : one.access;
    if (access !== 0) left.push({ ...one, access });
  }
  return left;
}

function sameDevice(a: DeviceException, b: DeviceException): boolean {
  return a.type === b.type && a.major === b.major && a.minor === b.minor;
}

/** Whether some device is named by both. */
function meets(a: DeviceException, b: DeviceException): boolean {
  return a.type === b.type && isEither(a.major, b.major) && isEither(a.minor, b.minor);
}

/** Whether every device of `narrow` is one of `wide`. */
function covers(wide: DeviceException, narrow: DeviceException): boolean {
  return wide.type === narrow.type && includes(wide.major, narrow.major) && includes(wide.minor, narrow.minor);
}

function includes(wide: number, narrow: number): boolean {
  return wide === anyNumber || wide === narrow;
}

function isEither(a: number, b: number): boolean {
  return includes(a, b) || includes(b, a);
}
