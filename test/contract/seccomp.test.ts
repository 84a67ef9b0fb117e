import { describe, expect, test } from "bun:test";
import {
  auditArchitectures,
  callNames,
  callNumber,
  type SeccompArchitecture,
} from "../../src/runtime/seccomp-calls.ts";
import { compileFilter } from "../../src/runtime/seccomp-compile.ts";
import { defaultSeccompProfile, type SeccompProfile } from "../../src/runtime/seccomp-profile.ts";
import { resolveSeccomp } from "../../src/runtime/seccomp-resolve.ts";
import { defaultCapabilities } from "../../src/runtime/capabilities.ts";
import type { OciSeccomp } from "../../src/spec/index.ts";
import { simulateFilter } from "../support/bpf-simulator.ts";
import { libseccompFilter, libseccompKnows, libseccompNumber } from "../support/libseccomp.ts";

const kernelRelease = "6.18.1";
const allow = 0x7fff0000;
const errno = (number: number) => 0x00050000 | number;

function resolved(profile: SeccompProfile, capabilities = defaultCapabilities): OciSeccomp {
  const seccomp = resolveSeccomp(profile, { capabilities, architecture: "x64", kernelRelease });
  if (!seccomp) throw new Error("the profile says nothing");
  return seccomp;
}

/** Values around every constant that a profile compares with, in both halves of an argument. */
function interestingArguments(seccomp: OciSeccomp, name: string): bigint[][] {
  const values = new Set([0n, 1n, 0xffffffffffffffffn]);
  const indexes = new Set([0]);
  for (const rule of seccomp.syscalls) {
    if (!rule.names.includes(name)) continue;
    for (const { index, value, valueTwo = 0 } of rule.args ?? []) {
      indexes.add(index);
      for (const near of [value - 1, value, value + 1, valueTwo, valueTwo + 1]) {
        if (near >= 0)
          values
            .add(BigInt(near))
            .add(BigInt(near) + (1n << 32n))
            .add(BigInt.asUintN(64, ~BigInt(near)));
      }
    }
  }
  const list = [...values];
  const calls = list.map((value) => Array.from({ length: 6 }, () => value));
  if (indexes.size > 1) {
    for (const first of list) for (const second of list) calls.push([first, second, first, second, first, second]);
  }
  return calls;
}

/** Compares every decision about calls that both know; answers how many were compared. */
function compareWithOracle(seccomp: OciSeccomp): number {
  const ours = compileFilter(seccomp);
  const theirs = libseccompFilter(seccomp);
  let compared = 0;
  const different: string[] = [];
  for (const name of seccomp.architectures as SeccompArchitecture[]) {
    for (const call of callNames()) {
      const number = callNumber(name, call);
      // The oracle reaches old x86 socket and ipc calls through a multiplexer as well; their direct numbers it treats the same.
      if (number === undefined || libseccompNumber(name, call) !== number) continue;
      if (!seccomp.syscalls.some(({ names }) => names.includes(call)) && number > 300) continue;
      for (const values of interestingArguments(seccomp, call)) {
        const about = { architecture: auditArchitectures[name], number, arguments: values };
        const [our, their] = [simulateFilter(ours, about), simulateFilter(theirs, about)];
        compared++;
        if (our !== their)
          different.push(`${name} ${call}(${values[0]}): ${our.toString(16)}, not ${their.toString(16)}`);
      }
    }
  }
  expect(different.slice(0, 20)).toEqual([]);
  return compared;
}

describe("the default profile compiled by us decides as libseccomp's program does", () => {
  test("with Docker's capabilities", () => {
    expect(compareWithOracle(resolved(defaultSeccompProfile))).toBeGreaterThan(3000);
  });
  test("with CAP_SYS_ADMIN, which opens clone and the mount calls", () => {
    compareWithOracle(resolved(defaultSeccompProfile, [...defaultCapabilities, "CAP_SYS_ADMIN"]));
  });
  test("with no capability", () => {
    compareWithOracle(resolved(defaultSeccompProfile, []));
  });
  test("for aarch64 and 32-bit Arm", () => {
    const target = { capabilities: defaultCapabilities, architecture: "arm64", kernelRelease } as const;
    const seccomp = resolveSeccomp(defaultSeccompProfile, target);
    expect(seccomp?.architectures).toEqual(["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]);
    if (seccomp) compareWithOracle(seccomp);
  });
});

const rule = (name: string, args: NonNullable<OciSeccomp["syscalls"][number]["args"]>) =>
  ({ names: [name], action: "SCMP_ACT_ERRNO", errnoRet: 7, args }) as const;

test("every operator, on 64-bit values and several arguments, decides as libseccomp's program does", () => {
  const big = 0x1_0000_0005;
  const operators = ["NE", "LT", "LE", "EQ", "GE", "GT"] as const;
  const names = ["getpid", "getppid", "getuid", "getgid", "geteuid", "getegid"];
  const seccomp: OciSeccomp = {
    defaultAction: "SCMP_ACT_ALLOW",
    architectures: ["SCMP_ARCH_X86_64"],
    syscalls: [
      ...operators.map((op, at) => rule(names[at] ?? "", [{ index: 1, op: `SCMP_CMP_${op}`, value: big }])),
      rule("mmap", [{ index: 2, op: "SCMP_CMP_MASKED_EQ", value: 0x6_0000_0006, valueTwo: 0x2_0000_0004 }]),
      rule("read", [
        { index: 0, op: "SCMP_CMP_EQ", value: 3 },
        { index: 1, op: "SCMP_CMP_GT", value: big },
      ]),
      rule("write", [{ index: 0, op: "SCMP_CMP_EQ", value: 1 }]),
      rule("write", [{ index: 0, op: "SCMP_CMP_EQ", value: 2 }]),
    ],
  };
  expect(compareWithOracle(seccomp)).toBeGreaterThan(300);
});

test("two conditions on one argument are alternatives, as runc reads them", () => {
  const program = compileFilter({
    defaultAction: "SCMP_ACT_ERRNO",
    architectures: ["SCMP_ARCH_X86_64"],
    syscalls: [
      {
        names: ["kill"],
        action: "SCMP_ACT_ALLOW",
        args: [
          { index: 1, op: "SCMP_CMP_EQ", value: 9 },
          { index: 1, op: "SCMP_CMP_EQ", value: 15 },
        ],
      },
    ],
  });
  const decide = (signal: bigint) =>
    simulateFilter(program, { architecture: 0xc000003e, number: 62, arguments: [0n, signal] });
  expect([decide(9n), decide(15n), decide(1n)]).toEqual([allow, allow, errno(1)]);
});

describe("what the default profile answers", () => {
  const program = compileFilter(resolved(defaultSeccompProfile));
  const decide = (name: string, values: bigint[] = [], architecture: SeccompArchitecture = "SCMP_ARCH_X86_64") =>
    simulateFilter(program, {
      architecture: auditArchitectures[architecture],
      number: callNumber(architecture, name) ?? -1,
      arguments: values,
    });

  test("a call newer than the profile is unknown (ENOSYS), a named one without its capability forbidden (EPERM)", () => {
    expect(decide("file_setattr")).toBe(errno(38));
    expect(simulateFilter(program, { architecture: 0xc000003e, number: 9999 })).toBe(errno(38));
    expect(decide("mount")).toBe(errno(1));
    expect(decide("keyctl")).toBe(errno(1));
    expect(decide("io_uring_setup")).toBe(errno(1));
  });
  test("clone may make threads and no namespaces; clone3 is unknown, so that libc uses clone", () => {
    expect(decide("clone", [0x3d0f00n])).toBe(allow);
    expect(decide("clone", [0x10000000n])).toBe(errno(1));
    expect(decide("clone3")).toBe(errno(38));
  });
  test("sockets of all families but the kernel's crypto and the hypervisor's", () => {
    expect([2n, 16n, 38n, 39n, 40n, 41n].map((family) => decide("socket", [family]))).toEqual([
      allow,
      allow,
      errno(1),
      allow,
      errno(1),
      allow,
    ]);
  });
  test("calls that libseccomp's release does not know yet are decided by their numbers", () => {
    expect(libseccompKnows("mseal")).toBe(false);
    expect(decide("mseal")).toBe(allow);
    expect(decide("mseal", [], "SCMP_ARCH_X86")).toBe(allow);
    expect(decide("lsm_list_modules")).toBe(errno(1));
  });
  test("another processor's calls kill the thread", () => {
    expect(simulateFilter(program, { architecture: 0xc00000b7, number: 0 })).toBe(0);
  });
});

const one = (rule: object): SeccompProfile => ({ defaultAction: "SCMP_ACT_ALLOW", syscalls: [rule as never] });

describe("a profile of the user's own", () => {
  test("in the old format with `name` compiles", () => {
    const seccomp = resolved({
      defaultAction: "SCMP_ACT_ALLOW",
      syscalls: [{ name: "chmod", action: "SCMP_ACT_ERRNO" }],
    });
    expect(simulateFilter(compileFilter(seccomp), { architecture: 0xc000003e, number: 90 })).toBe(errno(1));
    expect(simulateFilter(compileFilter(seccomp), { architecture: 0xc000003e, number: 9999 })).toBe(allow);
  });
  test("that contradicts itself or that no filter can express is refused with its value", () => {
    expect(() =>
      resolved({ ...one({}), architectures: ["SCMP_ARCH_X86"], archMap: defaultSeccompProfile.archMap ?? [] }),
    ).toThrow("both 'architectures' and 'archMap' are specified");
    expect(() => compileFilter(resolved(one({ names: ["read"], action: "SCMP_ACT_NOTIFY" })))).toThrow(
      'seccomp action "SCMP_ACT_NOTIFY" is not supported',
    );
    const condition = { index: 0, value: 2 ** 60, op: "SCMP_CMP_EQ" };
    expect(() =>
      compileFilter(resolved(one({ names: ["read"], action: "SCMP_ACT_ERRNO", args: [condition] }))),
    ).toThrow("not a whole number below 2^53");
    expect(() => compileFilter({ ...resolved(defaultSeccompProfile), architectures: ["SCMP_ARCH_S390X"] })).toThrow(
      'architecture "SCMP_ARCH_S390X"',
    );
  });
});
