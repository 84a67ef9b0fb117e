// Decision diagrams and their classic BPF code (Documentation/networking/filter.rst), as far as seccomp allows it.

/** What to do with a call: the value a filter returns, or a test of one 32-bit word and what follows either way. */
export type Decision = Verdict | Test;

export interface Verdict {
  readonly verdict: number;
}

export interface Test {
  /** Offset of the word in struct seccomp_data; absent: the word of the test before, still in the register. */
  readonly word?: number;
  /** Ands the word first. */
  readonly mask?: number;
  readonly compare: "equal" | "above" | "atLeast";
  readonly value: number;
  readonly yes: Decision;
  readonly no: Decision;
}

/** BPF_MAXINSNS. */
export const maxInstructions = 4096;

const loadWord = 0x20;
const andConstant = 0x54;
const jumpAlways = 0x05;
const returnConstant = 0x06;
const jumpIf = { equal: 0x15, above: 0x25, atLeast: 0x35 } as const;
/** A conditional jump's distance is one byte. */
const longestBranch = 255;

interface Instruction {
  readonly code: number;
  readonly yes: number;
  readonly no: number;
  readonly constant: number;
}

/**
 * The bytes of the sock_filter array. A node that several tests lead to is written once. Written from the end, since BPF jumps
 * forward only: then every target is placed before whoever jumps to it.
 */
export function assemble(root: Decision): Uint8Array {
  const backwards: Instruction[] = [];
  const placed = new Map<Decision, number>();
  const verdictAt = new Map<number, number>();
  const push = (code: number, constant: number, branches = { yes: 0, no: 0 }): number =>
    backwards.push({ code, constant, ...branches });

  /** Position, counted from the end, of code for `node` that the instruction to be written next can reach. */
  const place = (node: Decision): number => {
    if ("verdict" in node) {
      const known = verdictAt.get(node.verdict);
      // Room is left for the long jump and the sibling's code that may still come between.
      if (known !== undefined && backwards.length - known < longestBranch / 2) return known;
      const position = push(returnConstant, node.verdict);
      verdictAt.set(node.verdict, position);
      return position;
    }
    const known = placed.get(node);
    if (known !== undefined) return known;
    const no = place(node.no);
    const yes = place(node.yes);
    writeTest(node, { yes, no });
    placed.set(node, backwards.length);
    return backwards.length;
  };

  const writeTest = (node: Test, targets: { yes: number; no: number }): void => {
    const near = (target: number) => backwards.length - target <= longestBranch - 1;
    const reach = (target: number) => (near(target) ? target : push(jumpAlways, backwards.length - target));
    const yes = reach(targets.yes);
    const no = reach(targets.no);
    push(jumpIf[node.compare], node.value, { yes: backwards.length - yes, no: backwards.length - no });
    if (node.mask !== undefined) push(andConstant, node.mask);
    if (node.word !== undefined) push(loadWord, node.word);
  };

  place(root);
  return encode(backwards);
}

/** struct sock_filter: code u16, jump if true u8, jump if false u8, constant u32. */
function encode(backwards: readonly Instruction[]): Uint8Array {
  const bytes = Buffer.alloc(8 * backwards.length);
  let offset = bytes.length;
  for (const { code, yes, no, constant } of backwards) {
    offset -= 8;
    bytes.writeUInt16LE(code, offset);
    bytes.writeUInt8(yes, offset + 2);
    bytes.writeUInt8(no, offset + 3);
    bytes.writeUInt32LE(constant >>> 0, offset + 4);
  }
  return bytes;
}
