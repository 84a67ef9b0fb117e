import { EngineError } from "../common/index.ts";
import { printError, printLine } from "./output.ts";

const atOnce = 50;

/**
 * Does something for every argument, fifty at once, and prints the results in the order of the arguments: the argument
 * itself, or what `act` gives. Failures go to stderr; the exit code is 1 when there was any.
 */
export async function forEachArgument(
  args: readonly string[],
  act: (argument: string) => Promise<string | void>,
): Promise<number> {
  let failed = false;
  for (let start = 0; start < args.length; start += atOnce) {
    const batch = args.slice(start, start + atOnce).map(async (argument) => {
      if (argument.trim() === "")
        throw new EngineError("invalidArgument", "invalid container name or ID: value is empty");
      return (await act(argument)) ?? argument;
    });
    // Each is awaited below, in order; a later one may fail before.
    for (const result of batch) result.catch(() => {});
    for (const result of batch) {
      try {
        printLine(await result);
      } catch (thrown) {
        failed = true;
        printError(`${describeFailure(thrown)}\n`);
      }
    }
  }
  return failed ? 1 : 0;
}

/** A failure in one line, `Error response from daemon: …` when it is the engine's. */
export function describeFailure(thrown: unknown): string {
  const fromEngine = thrown instanceof EngineError && thrown.data["fromEngine"] === true;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return fromEngine ? `Error response from daemon: ${message}` : message;
}
