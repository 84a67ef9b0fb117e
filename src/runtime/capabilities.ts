import { readFileSync } from "node:fs";
import { EngineError } from "../common/index.ts";

/** linux/capability.h: the index is the bit. */
const capabilityNames = [
  "CAP_CHOWN",
  "CAP_DAC_OVERRIDE",
  "CAP_DAC_READ_SEARCH",
  "CAP_FOWNER",
  "CAP_FSETID",
  "CAP_KILL",
  "CAP_SETGID",
  "CAP_SETUID",
  "CAP_SETPCAP",
  "CAP_LINUX_IMMUTABLE",
  "CAP_NET_BIND_SERVICE",
  "CAP_NET_BROADCAST",
  "CAP_NET_ADMIN",
  "CAP_NET_RAW",
  "CAP_IPC_LOCK",
  "CAP_IPC_OWNER",
  "CAP_SYS_MODULE",
  "CAP_SYS_RAWIO",
  "CAP_SYS_CHROOT",
  "CAP_SYS_PTRACE",
  "CAP_SYS_PACCT",
  "CAP_SYS_ADMIN",
  "CAP_SYS_BOOT",
  "CAP_SYS_NICE",
  "CAP_SYS_RESOURCE",
  "CAP_SYS_TIME",
  "CAP_SYS_TTY_CONFIG",
  "CAP_MKNOD",
  "CAP_LEASE",
  "CAP_AUDIT_WRITE",
  "CAP_AUDIT_CONTROL",
  "CAP_SETFCAP",
  "CAP_MAC_OVERRIDE",
  "CAP_MAC_ADMIN",
  "CAP_SYSLOG",
  "CAP_WAKE_ALARM",
  "CAP_BLOCK_SUSPEND",
  "CAP_AUDIT_READ",
  "CAP_PERFMON",
  "CAP_BPF",
  "CAP_CHECKPOINT_RESTORE",
] as const;

const bitOf = new Map<string, number>(capabilityNames.map((name, bit) => [name, bit]));

/** What a container has when nobody says otherwise: Docker's fourteen, in Docker's order. */
export const defaultCapabilities: readonly string[] = [
  "CAP_CHOWN",
  "CAP_DAC_OVERRIDE",
  "CAP_FSETID",
  "CAP_FOWNER",
  "CAP_MKNOD",
  "CAP_NET_RAW",
  "CAP_SETGID",
  "CAP_SETUID",
  "CAP_SETFCAP",
  "CAP_SETPCAP",
  "CAP_NET_BIND_SERVICE",
  "CAP_SYS_CHROOT",
  "CAP_KILL",
  "CAP_AUDIT_WRITE",
];

let known: readonly string[] | undefined;

/**
 * The capabilities that the engine itself may give: its bounding set (proc_pid_status(5)). An engine that was itself started
 * with fewer, or on an older kernel, would fail to raise the rest.
 */
export function availableCapabilities(): readonly string[] {
  if (known) return known;
  const line = /^CapBnd:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8"));
  const mask = BigInt(`0x${line?.[1] ?? "0"}`);
  known = capabilityNames.filter((_, bit) => mask & (1n << BigInt(bit)));
  return known;
}

export interface CapabilityRequest {
  readonly add: readonly string[];
  readonly drop: readonly string[];
  readonly privileged: boolean;
  /** Capabilities that exist here; `ALL` means these. */
  readonly available: readonly string[];
}

/**
 * Docker's rules: names in any case, with or without `CAP_`. `add ALL` is everything but what is dropped; else `drop ALL` is what
 * is added alone; else the defaults without the dropped, with the added. Privileged overrides both.
 * Throws invalidArgument in Docker's words for a name that is unknown, or that the engine itself may not give.
 */
export function resolveCapabilities(request: CapabilityRequest): readonly string[] {
  const add = normalise(request.add, { field: "CapAdd", available: request.available });
  const drop = normalise(request.drop, { field: "CapDrop", available: undefined });
  if (request.privileged) return request.available;
  if (add.includes("ALL")) return request.available.filter((name) => !drop.includes(name));
  const kept = drop.includes("ALL") ? [] : defaultCapabilities.filter((name) => !drop.includes(name));
  return [...new Set([...kept.filter((name) => request.available.includes(name)), ...add])];
}

function normalise(
  names: readonly string[],
  options: { field: string; available: readonly string[] | undefined },
): string[] {
  return names.map((given) => {
    const upper = given.toUpperCase();
    if (upper === "ALL") return upper;
    const name = upper.startsWith("CAP_") ? upper : `CAP_${upper}`;
    if (!bitOf.has(name)) {
      throw new EngineError("invalidArgument", `invalid ${options.field}: unknown capability: "${given}"`);
    }
    if (options.available && !options.available.includes(name)) {
      const cause = "capability not supported by your kernel or not available in the current environment";
      throw new EngineError("invalidArgument", `invalid ${options.field}: ${cause}: "${given}"`);
    }
    return name;
  });
}

const masks = new WeakMap<readonly string[], string>();

/** The mask of capabilities(7) as the plan carries it: 16 lower-case hexadecimal digits. */
export function capabilityMask(names: readonly string[]): string {
  const known = masks.get(names);
  if (known) return known;
  let mask = 0n;
  for (const name of names) {
    const bit = bitOf.get(name);
    if (bit === undefined) throw new EngineError("invalidArgument", `unknown capability: "${name}"`);
    mask |= 1n << BigInt(bit);
  }
  const text = mask.toString(16).padStart(16, "0");
  masks.set(names, text);
  return text;
}

/** The reverse of `capabilityMask`: names in the order of their bits. */
export function capabilitiesOf(mask: string): string[] {
  const bits = BigInt(`0x${mask}`);
  return capabilityNames.filter((_, bit) => bits & (1n << BigInt(bit)));
}
