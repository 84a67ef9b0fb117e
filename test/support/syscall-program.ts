/** ELF64 header and one program header (elf(5)). */
const headersBytes = 64 + 56;
const loadAddress = 0x400000n;

/**
 * A program for x86-64 that makes one system call with six zeros and exits with its errno (0: it succeeded), written byte by byte: a
 * machine without a compiler can then ask the kernel for any call, also for one that no library knows yet.
 */
export function syscallProgram(number: number): Uint8Array {
  const code = machineCode(number);
  const size = BigInt(headersBytes + code.length);
  const bytes = Buffer.alloc(headersBytes);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  bytes.writeUInt16LE(2, 16); // e_type: ET_EXEC
  bytes.writeUInt16LE(62, 18); // e_machine: EM_X86_64
  bytes.writeUInt32LE(1, 20);
  bytes.writeBigUInt64LE(loadAddress + BigInt(headersBytes), 24); // e_entry
  bytes.writeBigUInt64LE(64n, 32); // e_phoff
  bytes.writeUInt16LE(64, 52);
  bytes.writeUInt16LE(56, 54);
  bytes.writeUInt16LE(1, 56); // e_phnum
  bytes.writeUInt32LE(1, 64); // p_type: PT_LOAD
  bytes.writeUInt32LE(5, 68); // p_flags: read, execute
  bytes.writeBigUInt64LE(loadAddress, 80);
  bytes.writeBigUInt64LE(loadAddress, 88);
  bytes.writeBigUInt64LE(size, 96);
  bytes.writeBigUInt64LE(size, 104);
  bytes.writeBigUInt64LE(0x1000n, 112);
  return Buffer.concat([bytes, code]);
}

function machineCode(number: number): Buffer {
  const eax = Buffer.alloc(4);
  eax.writeUInt32LE(number);
  return Buffer.concat([
    Buffer.from([0x31, 0xff, 0x31, 0xf6, 0x31, 0xd2]), // edi, esi, edx = 0
    Buffer.from([0x4d, 0x31, 0xd2, 0x4d, 0x31, 0xc0, 0x4d, 0x31, 0xc9]), // r10, r8, r9 = 0
    Buffer.from([0xb8]),
    eax, // eax = number
    Buffer.from([0x0f, 0x05]), // syscall
    Buffer.from([0x31, 0xff, 0x85, 0xc0, 0x79, 0x04]), // edi = 0; if eax >= 0 skip
    Buffer.from([0x89, 0xc7, 0xf7, 0xdf]), // edi = -eax
    Buffer.from([0xb8, 60, 0, 0, 0, 0x0f, 0x05]), // exit(edi)
  ]);
}
