import { join } from "node:path";
import { setPriority } from "node:os";

const niceness = 5;

/** The words that start a command of this engine's own program. The compiled executable calls itself, also when another has taken its place. */
export function ownProgram(command: string): string[] {
  const compiled = import.meta.dir.startsWith("/$bunfs/");
  return [...(compiled ? ["/proc/self/exe"] : [process.execPath, join(import.meta.dir, "..", "main.ts")]), command];
}

/** The engine answers first. */
export function yieldToEngine(pid: number): void {
  setPriority(pid, niceness);
}
