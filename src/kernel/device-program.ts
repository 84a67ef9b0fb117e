// cgroup v2 has no device files: a BPF program attached to the group decides on each open and mknod of a device.
import { closeSync, constants, openSync } from "node:fs";
import { arch } from "node:process";
import { EngineError } from "../common/index.ts";
import { allAccess, type DevicePolicy } from "./device-rules.ts";
import { errnoName } from "./errno.ts";
import { cstring, errno, ptr, SystemError, syscall } from "./libc.ts";

const SYS_bpf = arch === "arm64" ? 280 : 321;
// enum bpf_cmd, enum bpf_prog_type, enum bpf_attach_type and flags of linux/bpf.h
const BPF_PROG_LOAD = 5;
const BPF_PROG_ATTACH = 8;
const BPF_PROG_DETACH = 9;
const BPF_PROG_GET_FD_BY_ID = 13;
const BPF_PROG_QUERY = 16;
const BPF_PROG_TYPE_CGROUP_DEVICE = 15;
const BPF_CGROUP_DEVICE = 6;
const BPF_F_ALLOW_MULTI = 2;
const BPF_F_REPLACE = 4;
/** Enough for every field that is used here; the kernel takes zeros beyond those it knows. */
const attributeBytes = 120;
const maxPrograms = 64;

/** Opcodes of 64-bit BPF instructions that the program uses (linux/bpf_common.h). */
const opcode = {
  loadWord: 0x61,
  andImm: 0x54,
  rshImm: 0x74,
  mov: 0xbf,
  movImm: 0xb7,
  jneImm: 0x55,
  jeqImm: 0x15,
  exit: 0x95,
};

/**
 * Compiles a policy into instructions for a program that returns 1 to allow. Its context is `struct bpf_cgroup_dev_ctx {access << 16 | type, major,
 * minor}`. With denial as the default an exception must grant all that is asked; with allowance one that forbids any of it denies.
 */
export function compileDevicePolicy(policy: DevicePolicy): Uint8Array {
  const code: Instruction[] = [
    { op: opcode.loadWord, dst: 2, src: 1, off: 0 },
    { op: opcode.mov, dst: 3, src: 2 },
    { op: opcode.andImm, dst: 2, imm: 0xffff },
    { op: opcode.rshImm, dst: 3, imm: 16 },
    { op: opcode.loadWord, dst: 4, src: 1, off: 4 },
    { op: opcode.loadWord, dst: 5, src: 1, off: 8 },
  ];
  for (const exception of policy.exceptions) {
    const tests: Instruction[] = [{ op: opcode.jneImm, dst: 2, imm: exception.type === "b" ? 1 : 2 }];
    if (exception.access !== allAccess) {
      const mask = policy.defaultAllow ? exception.access : allAccess & ~exception.access;
      tests.push({ op: opcode.mov, dst: 1, src: 3 }, { op: opcode.andImm, dst: 1, imm: mask });
      tests.push({ op: policy.defaultAllow ? opcode.jeqImm : opcode.jneImm, dst: 1, imm: 0 });
    }
    if (exception.major !== -1) tests.push({ op: opcode.jneImm, dst: 4, imm: exception.major });
    if (exception.minor !== -1) tests.push({ op: opcode.jneImm, dst: 5, imm: exception.minor });
    const verdict: Instruction[] = [
      { op: opcode.movImm, dst: 0, imm: policy.defaultAllow ? 0 : 1 },
      { op: opcode.exit },
    ];
    const block: Instruction[] = [...tests, ...verdict];
    // A test that fails jumps behind the block, to the next exception.
    block.forEach((one, index) => {
      if (one.op === opcode.jneImm || one.op === opcode.jeqImm) one.off = block.length - index - 1;
    });
    code.push(...block);
  }
  code.push({ op: opcode.movImm, dst: 0, imm: policy.defaultAllow ? 1 : 0 }, { op: opcode.exit });
  return encode(code);
}

/**
 * Makes the policy hold for a v2 group from now on, also for its present processes: bpf(2). A program of ours that is
 * there is replaced in one step, so that at no moment both or none hold. A policy that allows everything needs no program.
 */
export function attachDevicePolicy(directory: string, policy: DevicePolicy): void {
  const group = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  const open: number[] = [];
  try {
    const present = attachedPrograms(group, directory);
    if (present.length === 0 && policy.defaultAllow && policy.exceptions.length === 0) return;
    const program = loadProgram(compileDevicePolicy(policy), directory);
    open.push(program);
    const old = present.map(openProgram);
    open.push(...old);
    const [only] = old;
    const replaced = old.length === 1 && only !== undefined ? only : undefined;
    attach({ group, program, replaced, directory });
    // More than one: all of them must allow, so the new one first, then the others go.
    if (replaced === undefined) for (const one of old) detach({ group, program: one, directory });
  } finally {
    for (const descriptor of open) closeSync(descriptor);
    closeSync(group);
  }
}

/** Ids of the device programs attached to that very group. */
export function attachedPrograms(group: number, directory: string): number[] {
  const ids = new Uint32Array(maxPrograms);
  const attributes = new DataView(new ArrayBuffer(attributeBytes));
  attributes.setUint32(0, group, true);
  attributes.setUint32(4, BPF_CGROUP_DEVICE, true);
  attributes.setBigUint64(16, BigInt(ptr(ids)), true);
  attributes.setUint32(24, maxPrograms, true);
  bpf(BPF_PROG_QUERY, attributes, () => `Cannot list the device programs of "${directory}"`);
  return [...ids.subarray(0, attributes.getUint32(24, true))];
}

interface Instruction {
  readonly op: number;
  readonly dst?: number;
  readonly src?: number;
  off?: number;
  readonly imm?: number;
}

function encode(code: readonly Instruction[]): Uint8Array {
  const bytes = new DataView(new ArrayBuffer(code.length * 8));
  code.forEach(({ op, dst = 0, src = 0, off = 0, imm = 0 }, index) => {
    bytes.setUint8(index * 8, op);
    bytes.setUint8(index * 8 + 1, (src << 4) | dst);
    bytes.setInt16(index * 8 + 2, off, true);
    bytes.setInt32(index * 8 + 4, imm | 0, true);
  });
  return new Uint8Array(bytes.buffer);
}

function loadProgram(code: Uint8Array, directory: string): number {
  const license = cstring("Apache-2.0");
  const attributes = new DataView(new ArrayBuffer(attributeBytes));
  attributes.setUint32(0, BPF_PROG_TYPE_CGROUP_DEVICE, true);
  attributes.setUint32(4, code.byteLength / 8, true);
  attributes.setBigUint64(8, BigInt(ptr(code)), true);
  attributes.setBigUint64(16, BigInt(ptr(license)), true);
  return bpf(BPF_PROG_LOAD, attributes, () => `Cannot load the device program of "${directory}"`);
}

function openProgram(id: number): number {
  const attributes = new DataView(new ArrayBuffer(attributeBytes));
  attributes.setUint32(0, id, true);
  return bpf(BPF_PROG_GET_FD_BY_ID, attributes, () => `Cannot open BPF program ${id}`);
}

function attach(options: { group: number; program: number; replaced: number | undefined; directory: string }): void {
  const attributes = new DataView(new ArrayBuffer(attributeBytes));
  attributes.setUint32(0, options.group, true);
  attributes.setUint32(4, options.program, true);
  attributes.setUint32(8, BPF_CGROUP_DEVICE, true);
  attributes.setUint32(
    12,
    options.replaced === undefined ? BPF_F_ALLOW_MULTI : BPF_F_ALLOW_MULTI | BPF_F_REPLACE,
    true,
  );
  if (options.replaced !== undefined) attributes.setUint32(16, options.replaced, true);
  bpf(BPF_PROG_ATTACH, attributes, () => `Cannot attach a device program to "${options.directory}"`);
}

function detach(options: { group: number; program: number; directory: string }): void {
  const attributes = new DataView(new ArrayBuffer(attributeBytes));
  attributes.setUint32(0, options.group, true);
  attributes.setUint32(4, options.program, true);
  attributes.setUint32(8, BPF_CGROUP_DEVICE, true);
  bpf(BPF_PROG_DETACH, attributes, () => `Cannot detach a device program from "${options.directory}"`);
}

function bpf(command: number, attributes: DataView<ArrayBuffer>, what: () => string): number {
  for (let attempt = 1; ; attempt++) {
    const result = syscall(SYS_bpf, command, ptr(new Uint8Array(attributes.buffer)), attributeBytes);
    if (result >= 0) return result;
    const number = errno();
    // The verifier gives way to signals: the kernel's own library tries as often.
    if (errnoName(number) === "EAGAIN" && attempt < 5) continue;
    if (errnoName(number) === "ENOSYS") {
      throw new EngineError(
        "unsupported",
        `${what()}: this kernel has no bpf(2), which device rules need on cgroup v2`,
      );
    }
    throw new SystemError("bpf", number, what());
  }
}
