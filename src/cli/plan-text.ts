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
  const width = Math.max(0, ...calls.map((call) => call.length).filter((length) => length <= alignedColumns));
  const numberWidth = String(ops.length).length;
  const lines = ops.map((op, index) => {
    const call = (calls[index] ?? "").padEnd(width);
    const result = resultText(op);
    return `${String(op.index).padStart(numberWidth)}  ${op.actor.padEnd(7)}  ${call}${result}  # ${op.reason}\n`;
  });
  return lines.join("");
}

/** Longer calls stand out of the column rather than widen it for all. */
const alignedColumns = 72;
const maxArgumentColumns = 48;

function resultText(op: TracedOp): string {
  if (op.errno === undefined && op.nanoseconds === undefined) return "";
  const result = op.errno ? `errno ${op.errno}` : "ok";
  const time = op.nanoseconds === undefined ? "" : `${(op.nanoseconds / 1000).toFixed(0)} µs`;
  return `  ${result.padEnd(8)} ${time.padStart(9)}`;
}

/** An argument as a shell would need it; of long ones (paths, filter programs) the beginning and the end are shown. */
function shown(argument: string): string {
  const short =
    argument.length <= maxArgumentColumns
      ? argument
      : `${argument.slice(0, headColumns)}…${argument.slice(-tailColumns)}`;
  return /^[\w@%+=:,./…-]+$/.test(short) ? short : JSON.stringify(short);
}

const headColumns = 16;
const tailColumns = maxArgumentColumns - headColumns - 1;
