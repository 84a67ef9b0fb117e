import { EngineError } from "../common/index.ts";
import type { Filters } from "./contract.ts";

/**
 * Throws, in Docker's words, for a filter that this listing does not have, or a value that its filter cannot have: also when there is
 * nothing to list, where an unknown filter would go unnoticed. `values`: what a filter takes, where that is a closed set.
 */
export function requireKnownFilters(
  filters: Filters,
  names: readonly string[],
  values: Readonly<Record<string, RegExp>> = {},
): void {
  for (const [name, wanted] of filters) {
    if (!names.includes(name)) throw new EngineError("invalidArgument", `invalid filter '${name}'`);
    for (const value of wanted) {
      if (values[name]?.test(value) === false)
        throw new EngineError("invalidArgument", `invalid filter '${name}=${value}'`);
    }
  }
}
