import { EngineError } from "../common/index.ts";
import type { OciSeccomp, OciSyscall, SeccompAction, SeccompCondition } from "../spec/index.ts";
import { type Decision, type Verdict, assemble, maxInstructions } from "./bpf.ts";
import { type SeccompArchitecture, armPrivateBase, auditArchitectures, callNumber, x32Bit } from "./seccomp-calls.ts";
import { knownArchitectures } from "./seccomp-resolve.ts";

/** linux/seccomp.h: what a filter returns; the low 16 bits are data (an errno). */
const actionValues: Record<SeccompAction, number> = {
  SCMP_ACT_KILL: 0x00000000,
  SCMP_ACT_KILL_THREAD: 0x00000000,
  SCMP_ACT_KILL_PROCESS: 0x80000000,
  SCMP_ACT_TRAP: 0x00030000,
  SCMP_ACT_ERRNO: 0x00050000,
  SCMP_ACT_TRACE: 0x7ff00000,
  SCMP_ACT_LOG: 0x7ffc0000,
  SCMP_ACT_ALLOW: 0x7fff0000,
};

const errnoDefault = 1;
const errnoNotImplemented = 38;
const maxErrno = 4095;
const killThread: Verdict = { verdict: actionValues.SCMP_ACT_KILL_THREAD };
const answerNotImplemented: Verdict = { verdict: actionValues.SCMP_ACT_ERRNO | errnoNotImplemented };

/** Offsets in struct seccomp_data; arguments have 64 bits, little-endian here. */
const wordOfNumber = 0;
const wordOfArchitecture = 4;
const wordOfArguments = 16;
const argumentCount = 6;
/** Where arguments have 64 bits; elsewhere the high half is not looked at, as libseccomp has it for x32 too. */
const wideArguments: Readonly<Record<SeccompArchitecture, boolean>> = {
  SCMP_ARCH_X86_64: true,
  SCMP_ARCH_AARCH64: true,
  SCMP_ARCH_X32: false,
  SCMP_ARCH_X86: false,
  SCMP_ARCH_ARM: false,
};

/**
 * Compiles a resolved profile to a seccomp filter: the bytes of its sock_filter array (seccomp(2)). A binary search over call
 * numbers for each architecture; other architectures are killed. A call whose number is above every one that the profile names
 * answers ENOSYS rather than the default action, so that libc takes the fallback it has for old kernels (runc's rule). Names that
 * no architecture has are passed over. Throws invalidArgument or unsupported for a profile that has no meaning.
 */
export function compileFilter(seccomp: OciSeccomp): Uint8Array {
  const families = Map.groupBy(new Set(knownArchitectures(seccomp)), (name) => auditArchitectures[name]);
  const decision = [...families].reduceRight<Decision>(
    (otherwise, [audit, names]) => ({
      word: wordOfArchitecture,
      compare: "equal",
      value: audit,
      yes: familyDecision(seccomp, names),
      no: otherwise,
    }),
    killThread,
  );
  const program = assemble(decision);
  if (program.length / 8 > maxInstructions) {
    throw new EngineError(
      "invalidArgument",
      `seccomp profile needs ${program.length / 8} instructions, and the kernel takes ${maxInstructions}`,
    );
  }
  return program;
}

/** x86-64 and x32 look alike but for one bit of the call's number. */
function familyDecision(seccomp: OciSeccomp, names: readonly SeccompArchitecture[]): Decision {
  const decisionOf = (name: SeccompArchitecture) =>
    names.includes(name) ? architectureDecision(seccomp, name) : killThread;
  const [only = "SCMP_ARCH_X86_64"] = names;
  if (only !== "SCMP_ARCH_X86_64" && only !== "SCMP_ARCH_X32") return withNumber(decisionOf(only));
  return {
    word: wordOfNumber,
    compare: "atLeast",
    value: x32Bit,
    yes: decisionOf("SCMP_ARCH_X32"),
    no: decisionOf("SCMP_ARCH_X86_64"),
  };
}

function withNumber(decision: Decision): Decision {
  return "verdict" in decision ? decision : { ...decision, word: wordOfNumber };
}

/** A run of call numbers from `start` on that are all treated alike. */
interface Interval {
  readonly start: number;
  readonly decision: Decision;
}

function architectureDecision(seccomp: OciSeccomp, architecture: SeccompArchitecture): Decision {
  const fallback: Verdict = { verdict: actionValue(seccomp.defaultAction, seccomp.defaultErrnoRet) };
  const rules = rulesByNumber(seccomp, architecture);
  const numbers = [...rules.keys()].sort((a, b) => a - b);
  const highest = numbers.findLast((number) => (number & ~x32Bit) < armPrivateBase);
  const permissive = seccomp.defaultAction === "SCMP_ACT_ALLOW" || seccomp.defaultAction === "SCMP_ACT_LOG";
  const gapAfter = (number: number) => (number === highest && !permissive ? answerNotImplemented : fallback);
  const intervals: Interval[] = [];
  const begin = (start: number, decision: Decision) => {
    if (intervals.at(-1)?.start === start) intervals.pop();
    const last = intervals.at(-1)?.decision;
    const same = last && "verdict" in last && "verdict" in decision && last.verdict === decision.verdict;
    if (!same) intervals.push({ start, decision });
  };
  begin(0, fallback);
  for (const number of numbers) {
    begin(number, callDecision(rules.get(number) ?? [], { fallback, wide: wideArguments[architecture] }));
    begin(number + 1, gapAfter(number));
  }
  return searchTree(intervals);
}

function searchTree(intervals: readonly Interval[]): Decision {
  const [first] = intervals;
  if (!first || intervals.length === 1) return first?.decision ?? killThread;
  const middle = intervals.length >> 1;
  return {
    compare: "atLeast",
    value: intervals[middle]?.start ?? 0,
    yes: searchTree(intervals.slice(middle)),
    no: searchTree(intervals.slice(0, middle)),
  };
}

/** The rules for each number, in the profile's order. One without conditions makes all others for it moot. */
function rulesByNumber(seccomp: OciSeccomp, architecture: SeccompArchitecture): Map<number, readonly OciSyscall[]> {
  const isDefault = (rule: OciSyscall) =>
    actionValue(rule.action, rule.errnoRet) === actionValue(seccomp.defaultAction, seccomp.defaultErrnoRet);
  const rules = new Map<number, readonly OciSyscall[]>();
  for (const rule of seccomp.syscalls) {
    for (const name of rule.names) {
      const number = callNumber(architecture, name);
      if (number === undefined) continue;
      const present = rules.get(number) ?? [];
      if (isDefault(rule)) rules.set(number, present);
      else if (!rule.args?.length) rules.set(number, present.some(({ args }) => !args?.length) ? present : [rule]);
      else if (!present.some(({ args }) => !args?.length)) rules.set(number, [...present, rule]);
    }
  }
  return rules;
}

function callDecision(rules: readonly OciSyscall[], options: { fallback: Verdict; wide: boolean }): Decision {
  const { fallback, wide } = options;
  return rules.reduceRight<Decision>((otherwise, rule) => {
    const verdict: Verdict = { verdict: actionValue(rule.action, rule.errnoRet) };
    if (!rule.args?.length) return verdict;
    return alternatives(rule.args).reduceRight<Decision>(
      (no, conditions) =>
        conditions.reduceRight<Decision>((yes, condition) => conditionDecision(condition, { yes, no, wide }), verdict),
      otherwise,
    );
  }, fallback);
}

/** Conditions on different arguments must all hold; as soon as two are on one argument, runc takes each as a rule of its own. */
function alternatives(conditions: readonly SeccompCondition[]): (readonly SeccompCondition[])[] {
  const indexes = new Set(conditions.map(({ index }) => index));
  return indexes.size === conditions.length ? [conditions] : conditions.map((condition) => [condition]);
}

interface Branches {
  readonly yes: Decision;
  readonly no: Decision;
  readonly wide: boolean;
}

function conditionDecision(condition: SeccompCondition, branches: Branches): Decision {
  const { op, value, valueTwo = 0 } = condition;
  const swapped = { ...branches, yes: branches.no, no: branches.yes };
  switch (op) {
    case "SCMP_CMP_EQ":
      return equalDecision(condition.index, halves(value), branches);
    case "SCMP_CMP_NE":
      return equalDecision(condition.index, halves(value), swapped);
    case "SCMP_CMP_MASKED_EQ":
      return equalDecision(condition.index, halves(valueTwo), { ...branches, masks: halves(value) });
    case "SCMP_CMP_GT":
      return orderDecision(condition, "above", branches);
    case "SCMP_CMP_GE":
      return orderDecision(condition, "atLeast", branches);
    case "SCMP_CMP_LT":
      return orderDecision(condition, "atLeast", swapped);
    case "SCMP_CMP_LE":
      return orderDecision(condition, "above", swapped);
    default:
      throw new EngineError("invalidArgument", `seccomp profile has an unknown operator "${String(op)}"`);
  }
}

function equalDecision(index: number, wanted: Halves, branches: Branches & { masks?: Halves }): Decision {
  const { yes, no, wide, masks } = branches;
  const { low, high } = wordsOf(index);
  const lowTest: Decision = { word: low, ...maskOf(masks?.low), compare: "equal", value: wanted.low, yes, no };
  return wide
    ? { word: high, ...maskOf(masks?.high), compare: "equal", value: wanted.high, yes: lowTest, no }
    : lowTest;
}

function orderDecision(condition: SeccompCondition, compare: "above" | "atLeast", branches: Branches): Decision {
  const { yes, no, wide } = branches;
  const { low, high } = wordsOf(condition.index);
  const limit = halves(condition.value);
  const lowTest: Decision = { word: low, compare, value: limit.low, yes, no };
  if (!wide) return lowTest;
  const highEqual: Decision = { compare: "equal", value: limit.high, yes: lowTest, no };
  return { word: high, compare: "above", value: limit.high, yes, no: highEqual };
}

function wordsOf(index: number): Halves {
  if (!Number.isInteger(index) || index < 0 || index >= argumentCount) {
    throw new EngineError("invalidArgument", `seccomp profile has a condition on argument "${index}" of 0 to 5`);
  }
  const low = wordOfArguments + 8 * index;
  return { low, high: low + 4 };
}

interface Halves {
  readonly high: number;
  readonly low: number;
}

function halves(value: number): Halves {
  // JSON numbers above 2⁵³ have lost their low bits by now: the rule would test something else than its author wrote.
  if (!Number.isSafeInteger(value)) {
    throw new EngineError(
      "invalidArgument",
      `seccomp profile compares with ${value}, which is not a whole number below 2^53`,
    );
  }
  const bits = BigInt.asUintN(64, BigInt(value));
  return { high: Number(bits >> 32n), low: Number(bits & 0xffffffffn) };
}

function maskOf(mask: number | undefined): { mask?: number } {
  return mask === undefined ? {} : { mask };
}

/** The 32-bit value that a filter returns for an action. Throws unsupported for one that needs a listener. */
function actionValue(action: SeccompAction, errno: number | undefined): number {
  const value = actionValues[action];
  if (value === undefined) {
    throw new EngineError("unsupported", `seccomp action "${String(action)}" is not supported`);
  }
  if (action !== "SCMP_ACT_ERRNO" && action !== "SCMP_ACT_TRACE") return value;
  const data = errno ?? errnoDefault;
  if (!Number.isInteger(data) || data < 0 || data > maxErrno) {
    throw new EngineError("invalidArgument", `seccomp profile returns errno "${data}", which is not 0 to ${maxErrno}`);
  }
  return value | data;
}
