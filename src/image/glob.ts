import { EngineError } from "../common/index.ts";

/** Go's path.Match, as Docker's reference filter uses it: `*` and `?` stop at a slash, `[a-z]` and `[^a-z]`, `\` escapes. */
export function matchGlob(pattern: string, text: string): boolean {
  return compile(pattern).test(text);
}

const maxPatternLength = 1024;

function compile(pattern: string): RegExp {
  if (pattern.length > maxPatternLength) throw badPattern(pattern);
  // Runs of stars would backtrack without bound and mean the same as one.
  const token = /\*+|\?|\\([\s\S])|\[(\^?)((?:\\[\s\S]|[^\]\\])+)\]|([\s\S])/gu;
  const source = pattern.replace(token, (whole, escaped?: string, negated?: string, set?: string, plain?: string) => {
    if (whole.startsWith("*")) return "[^/]*";
    if (whole === "?") return "[^/]";
    if (escaped !== undefined) return escape(escaped);
    if (set !== undefined) return `[${negated ? "^" : ""}${classOf(set, pattern)}]`;
    if (plain === "[" || plain === "\\") throw badPattern(pattern);
    return escape(plain ?? "");
  });
  return new RegExp(`^${source}$`, "u");
}

function classOf(set: string, pattern: string): string {
  const items = set.matchAll(/(\\[\s\S]|[\s\S])(?:-(\\[\s\S]|[\s\S]))?/gu);
  return Array.from(items, ([, from = "", to]) => {
    const low = from.replace(/^\\(?=.)/su, "");
    if (from === "-" || to === "]") throw badPattern(pattern);
    return to === undefined ? escape(low) : `${escape(low)}-${escape(to.replace(/^\\(?=.)/su, ""))}`;
  }).join("");
}

function escape(character: string): string {
  return /[\^$\\.*+?()[\]{}|/-]/.test(character) ? `\\${character}` : character;
}

function badPattern(pattern: string): EngineError {
  return new EngineError("invalidArgument", `The pattern "${pattern}" has a syntax error in it`);
}
