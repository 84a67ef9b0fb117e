import { type ApiClient, pathPart } from "../api/client/index.ts";
import type { TracedOp } from "../spec/index.ts";
import { describeFailure } from "./each-argument.ts";
import { printError } from "./output.ts";

export interface PlanAnswer {
  readonly ops: readonly TracedOp[];
  readonly script: string;
}

/** Prints to stderr what a started container's plan did, so that stdout stays the container's. */
export async function printPlanOf(engine: ApiClient, id: string): Promise<void> {
  try {
    const { ops } = await engine.get<PlanAnswer>(`/vitrine/containers/${pathPart(id)}/plan`);
    printError(planText(ops));
  } catch (thrown) {
    printError(`--trace: ${describeFailure(thrown)}\n`);
  }
}

/** One line an op: number, actor, the op with its arguments, the result where there is one, the reason. */
export function planText(ops: readonly TracedOp[]): string {
  const calls = ops.map((op) => [op.name, ...op.arguments.map(shown)].join(" "));
  const width = Math.min(Math.max(0, ...calls.map((call) => call.length)), maxCallColumns);
  const numberWidth = String(ops.length).length;
  const lines = ops.map((op, index) => {
    const call = cut(calls[index] ?? "", maxCallColumns).padEnd(width);
    const result = resultText(op);
    return `${String(op.index).padStart(numberWidth)}  ${op.actor.padEnd(7)}  ${call}${result}  # ${op.reason}\n`;
  });
  return lines.join("");
}

const maxCallColumns = 72;
const maxArgumentColumns = 48;

function resultText(op: TracedOp): string {
  if (op.errno === undefined && op.nanoseconds === undefined) return "";
  const result = op.errno ? `errno ${op.errno}` : "ok";
  const time = op.nanoseconds === undefined ? "" : `${(op.nanoseconds / 1000).toFixed(0)} µs`;
  return `  ${result.padEnd(8)} ${time.padStart(9)}`;
}

/** An argument as a shell would need it; programs of filters and long lists are cut. */
function shown(argument: string): string {
  const short = cut(argument, maxArgumentColumns);
  return /^[\w@%+=:,./-]+$/.test(short) ? short : JSON.stringify(short);
}

function cut(text: string, columns: number): string {
  return text.length <= columns ? text : `${text.slice(0, columns - 1)}…`;
}
