import { errnoName } from "../kernel/index.ts";
import { capabilitiesOf } from "../runtime/index.ts";
import type { TracedOp } from "../spec/index.ts";

const maxArgumentLength = 60;
const maxLineLength = 160;

/** What the list needs of an op; a plan's own ops have these fields too, but for the index. */
export type ExplainedOp = Omit<TracedOp, "index"> & { readonly index?: number };

/**
 * A plan for people, two lines an op: number, actor, name and arguments, then the reason. Where an op has a result, it is told first:
 * microseconds, or the name of the errno.
 *
 *      12 child    mount         proc proc /proc nosuid,noexec,nodev                           38 µs
 *         Processes as this pid namespace sees them; the host's /proc would show all of the host's
 */
export function explainText(ops: readonly ExplainedOp[]): string {
  const width = Math.max(0, ...ops.map(({ name }) => name.length));
  return ops.map((op, position) => describe(op, { index: op.index ?? position, width })).join("");
}

function describe(op: ExplainedOp, { index, width }: { index: number; width: number }): string {
  const head = `${String(index).padStart(4)} ${op.actor.padEnd(7)}  ${op.name.padEnd(width)}  `;
  const words = `${head}${shownArguments(op)}`.trimEnd();
  const result = resultOf(op);
  const line = result === "" ? words : `${words}  ${result.padStart(Math.max(0, 110 - words.length))}`;
  return op.reason === "" ? `${line}\n` : `${line}\n             ${op.reason}\n`;
}

function resultOf({ errno, nanoseconds }: ExplainedOp): string {
  if (errno === undefined) return "";
  const took = nanoseconds === undefined ? "" : ` ${formatMicroseconds(nanoseconds)}`;
  return errno === 0 ? took.trim() : `${errnoName(errno)}${took}`;
}

function formatMicroseconds(nanoseconds: number): string {
  const microseconds = nanoseconds / 1000;
  return `${microseconds >= 100 ? microseconds.toFixed(0) : microseconds.toFixed(1)} µs`;
}

/** Arguments as a reader wants them: programs by their size, masks by their names, an environment left out. */
function shownArguments(op: ExplainedOp): string {
  const [first = "", second = ""] = op.arguments;
  switch (op.name) {
    case "seccomp":
      return `${first.length / 16} instructions ${second}`.trimEnd();
    case "capabilities":
      return `${first} ${namesOf(first === "keep" ? second : (op.arguments[2] ?? "0"))}`;
    case "exec":
      return op.arguments
        .slice(2, 2 + Number(second))
        .map(shorten)
        .join(" ");
    default:
      return cut(op.arguments.map(shorten).join(" "), maxLineLength);
  }
}

function namesOf(mask: string): string {
  const names = capabilitiesOf(mask).map((name) => name.replace("CAP_", "").toLowerCase());
  return names.length === 0 ? "none" : cut(names.join(","), maxLineLength);
}

function shorten(argument: string): string {
  if (argument === "") return '""';
  // The end of a path tells more than its beginning.
  if (argument.startsWith("/") && argument.length > maxArgumentLength)
    return `…${argument.slice(-maxArgumentLength + 1)}`;
  const text = cut(argument, maxArgumentLength);
  return /^[\w@%+=:,./…-]+$/.test(text) ? text : JSON.stringify(text);
}

function cut(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`;
}
