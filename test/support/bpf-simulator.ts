/** What a filter is asked about; arguments have 64 bits. */
export interface SimulatedCall {
  readonly architecture: number;
  readonly number: number;
  readonly arguments?: readonly bigint[];
}

/** Runs a seccomp filter (bytes of a sock_filter array) on a struct seccomp_data in memory, as the kernel's interpreter does. */
export function simulateFilter(program: Uint8Array, call: SimulatedCall): number {
  const code = new DataView(program.buffer, program.byteOffset, program.byteLength);
  const data = new DataView(new ArrayBuffer(64));
  data.setUint32(0, call.number >>> 0, true);
  data.setUint32(4, call.architecture, true);
  (call.arguments ?? []).forEach((value, index) => data.setBigUint64(16 + 8 * index, BigInt.asUintN(64, value), true));
  let accumulator = 0;
  for (let at = 0; at < program.length / 8; at++) {
    const operation = code.getUint16(8 * at, true);
    const constant = code.getUint32(8 * at + 4, true);
    const branch = (taken: boolean) => code.getUint8(8 * at + (taken ? 2 : 3));
    if (operation === 0x20) accumulator = data.getUint32(constant, true);
    else if (operation === 0x54) accumulator = (accumulator & constant) >>> 0;
    else if (operation === 0x06) return constant;
    else if (operation === 0x05) at += constant;
    else if (operation === 0x15) at += branch(accumulator === constant);
    else if (operation === 0x25) at += branch(accumulator > constant);
    else if (operation === 0x35) at += branch(accumulator >= constant);
    else if (operation === 0x45) at += branch((accumulator & constant) !== 0);
    else throw new Error(`The filter has an instruction 0x${operation.toString(16)} that the simulator does not know`);
  }
  throw new Error("The filter ran past its end");
}
