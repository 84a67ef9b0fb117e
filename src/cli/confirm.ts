import { createInterface } from "node:readline/promises";
import type { FlagValues } from "./flag-values.ts";

/** Asks before something is removed for good, unless `--force` is given. False when the answer is no. */
export async function confirmUnlessForced(flags: FlagValues, warning: string): Promise<boolean> {
  if (flags.bool("force")) return true;
  const reader = createInterface({ input: process.stdin, output: process.stdout });
  let answer = "";
  const closed = new Promise<string>((resolve) => reader.once("close", () => resolve("")));
  try {
    answer = await Promise.race([
      reader.question(`WARNING! ${warning}\nAre you sure you want to continue? [y/N] `),
      closed,
    ]);
  } finally {
    reader.close();
  }
  return /^y(es)?$/i.test(answer.trim());
}
