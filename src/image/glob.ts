import { compilePathPattern } from "../spec/index.ts";

/** Go's path.Match, as Docker's reference filter uses it: `*` and `?` stop at a slash, `[a-z]` and `[^a-z]`, `\` escapes. */
export function matchGlob(pattern: string, text: string): boolean {
  return compilePathPattern(pattern, { globstar: false })(text);
}
