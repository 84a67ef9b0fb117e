import type { Flag } from "./command.ts";
import type { FlagValues } from "./flag-values.ts";

/** How `stop` and `restart` end a container: which signal, and how long before it is killed. */
export const stopFlags: readonly Flag[] = [
  { name: "signal", short: "s", kind: "string", description: "Signal to send to the container" },
  {
    name: "timeout",
    short: "t",
    kind: "int",
    alias: "time",
    description: "Seconds to wait before killing the container",
  },
];

/** The same as the API's query. */
export function stopQuery(flags: FlagValues): { signal: string | undefined; t: string | undefined } {
  return { signal: flags.optional("signal"), t: flags.optional("timeout") };
}
