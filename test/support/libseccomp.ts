// The oracle of the seccomp compiler: libseccomp itself (Debian: libseccomp2).
import { dlopen, ptr } from "bun:ffi";
import { closeSync, readFileSync } from "node:fs";
import { cstring, libc } from "../../src/kernel/index.ts";
import type { OciSeccomp, OciSyscall } from "../../src/spec/index.ts";

const architectureTokens: Readonly<Record<string, number>> = {
  SCMP_ARCH_X86_64: 0xc000003e,
  SCMP_ARCH_X86: 0x40000003,
  SCMP_ARCH_X32: 0x4000003e,
  SCMP_ARCH_AARCH64: 0xc00000b7,
  SCMP_ARCH_ARM: 0x40000028,
};
const operators = ["", "NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];
const actions: Readonly<Record<string, number>> = {
  SCMP_ACT_KILL_PROCESS: 0x80000000,
  SCMP_ACT_ERRNO: 0x00050000,
  SCMP_ACT_ALLOW: 0x7fff0000,
  SCMP_ACT_LOG: 0x7ffc0000,
  SCMP_ACT_TRAP: 0x00030000,
};

const { symbols: seccomp } = dlopen("libseccomp.so.2", {
  seccomp_init: { args: ["u32"], returns: "ptr" },
  seccomp_release: { args: ["ptr"], returns: "void" },
  seccomp_arch_add: { args: ["ptr", "u32"], returns: "i32" },
  seccomp_arch_remove: { args: ["ptr", "u32"], returns: "i32" },
  seccomp_arch_native: { args: [], returns: "u32" },
  seccomp_rule_add_array: { args: ["ptr", "u32", "i32", "u32", "ptr"], returns: "i32" },
  seccomp_syscall_resolve_name: { args: ["ptr"], returns: "i32" },
  seccomp_syscall_resolve_name_arch: { args: ["u32", "ptr"], returns: "i32" },
  seccomp_export_bpf: { args: ["ptr", "i32"], returns: "i32" },
});

/** The number libseccomp gives a name; negative when that architecture has it not, or only behind a multiplexer. */
export function libseccompNumber(architecture: string, name: string): number {
  return seccomp.seccomp_syscall_resolve_name_arch(architectureTokens[architecture] ?? 0, ptr(cstring(name)));
}

/** Whether libseccomp knows the name at all; its releases lag behind the kernel. */
export function libseccompKnows(name: string): boolean {
  return seccomp.seccomp_syscall_resolve_name(ptr(cstring(name))) !== -1;
}

/** The program that libseccomp makes of the same rules, called as runc calls it. */
export function libseccompFilter(profile: OciSeccomp): Uint8Array {
  const context = seccomp.seccomp_init(actionOf(profile.defaultAction, profile.defaultErrnoRet));
  if (!context) throw new Error("seccomp_init refused");
  const native = seccomp.seccomp_arch_native();
  for (const name of profile.architectures) {
    const token = architectureTokens[name] ?? 0;
    if (token !== native) succeed(`seccomp_arch_add ${name}`, seccomp.seccomp_arch_add(context, token));
  }
  if (!profile.architectures.some((name) => architectureTokens[name] === native)) {
    succeed("seccomp_arch_remove", seccomp.seccomp_arch_remove(context, native));
  }
  for (const rule of profile.syscalls) addRule(context, rule, profile);
  const file = libc.memfd_create(ptr(cstring("filter")), 0);
  succeed("seccomp_export_bpf", seccomp.seccomp_export_bpf(context, file));
  const program = readFileSync(`/proc/self/fd/${file}`);
  closeSync(file);
  seccomp.seccomp_release(context);
  return program;
}

function addRule(
  context: NonNullable<ReturnType<typeof seccomp.seccomp_init>>,
  rule: OciSyscall,
  profile: OciSeccomp,
): void {
  const action = actionOf(rule.action, rule.errnoRet);
  if (action === actionOf(profile.defaultAction, profile.defaultErrnoRet)) return;
  const conditions = Buffer.alloc(24 * Math.max(1, rule.args?.length ?? 0));
  rule.args?.forEach(({ index, op, value, valueTwo = 0 }, position) => {
    conditions.writeUInt32LE(index, 24 * position);
    conditions.writeUInt32LE(operators.indexOf(op.replace("SCMP_CMP_", "")), 24 * position + 4);
    conditions.writeBigUInt64LE(BigInt(value), 24 * position + 8);
    conditions.writeBigUInt64LE(BigInt(valueTwo), 24 * position + 16);
  });
  for (const name of rule.names) {
    const number = seccomp.seccomp_syscall_resolve_name(ptr(cstring(name)));
    if (number === -1) continue;
    const count = rule.args?.length ?? 0;
    succeed(`rule ${name}`, seccomp.seccomp_rule_add_array(context, action, number, count, ptr(conditions)));
  }
}

function actionOf(name: string, errno: number | undefined): number {
  const value = actions[name];
  if (value === undefined) throw new Error(`The oracle knows no action ${name}`);
  return name === "SCMP_ACT_ERRNO" ? value | (errno ?? 1) : value;
}

function succeed(what: string, result: number): void {
  if (result !== 0) throw new Error(`${what}: libseccomp answered ${result}`);
}
