// Patterns of paths as Go's filepath.Match has them, and with `**` as moby/patternmatcher has it.
import { EngineError } from "../common/index.ts";

type Token =
  | { readonly kind: "character"; readonly character: string }
  | { readonly kind: "class"; readonly negated: boolean; readonly ranges: readonly (readonly [string, string])[] }
  /** `?`: one character but a slash. */
  | { readonly kind: "one" }
  /** `*`: any number of them. */
  | { readonly kind: "star" }
  /** `**` before something: any number of directories, none included. */
  | { readonly kind: "directories" }
  /** `**` at the end, or before plain characters at the beginning: anything. */
  | { readonly kind: "anything" };

const maxPatternLength = 4096;
/** With more wildcards a regular expression could take for ever on what a stranger wrote. */
const maxRegularWildcards = 2;

/** Whether a path matches as a whole. */
export type PathPattern = (path: string) => boolean;

/** Throws `invalidArgument` for a pattern that cannot be read. Without `globstar`, `**` is no more than `*`. */
export function compilePathPattern(pattern: string, options: { globstar: boolean }): PathPattern {
  if (pattern.length > maxPatternLength) throw badPattern(pattern);
  const tokens = readTokens(pattern, options.globstar);
  if (tokens.every((token) => token.kind === "character")) {
    const text = tokens.map((token) => (token.kind === "character" ? token.character : "")).join("");
    return (path) => path === text;
  }
  const wildcards = tokens.filter(({ kind }) => kind === "star" || kind === "directories" || kind === "anything");
  if (wildcards.length <= maxRegularWildcards) {
    const expression = new RegExp(`^${tokens.map(toExpression).join("")}$`, "su");
    return (path) => expression.test(path);
  }
  return (path) => follow(tokens, path);
}

function readTokens(pattern: string, globstar: boolean): Token[] {
  const tokens: Token[] = [];
  const units = /\*\*\/?|\*|\?|\\(.)|\[(\^|(?!\^))((?:\\.|[^\]\\])+)\]|([^\\[])/gsuy;
  while (units.lastIndex < pattern.length) {
    const from = units.lastIndex;
    const match = units.exec(pattern);
    if (!match) throw badPattern(pattern);
    const [unit, escaped, negated, members, plain] = match;
    if (unit.startsWith("**") && !globstar) {
      units.lastIndex = from + 2;
      tokens.push({ kind: "star" });
    } else if (unit.startsWith("**")) {
      const last = units.lastIndex === pattern.length;
      const beforeText = from === 0 && !unit.endsWith("/") && !/[*?[\\]/.test(pattern.slice(2));
      tokens.push({ kind: last || beforeText ? "anything" : "directories" });
    } else if (unit === "*") tokens.push({ kind: "star" });
    else if (unit === "?") tokens.push({ kind: "one" });
    else if (members !== undefined) {
      tokens.push({ kind: "class", negated: negated === "^", ranges: readRanges(members, pattern) });
    } else tokens.push({ kind: "character", character: escaped ?? plain ?? "" });
  }
  // Twice the same wildcard in a row is that wildcard.
  return tokens.filter((token, index) => {
    const repeated = token.kind === "star" || token.kind === "directories" || token.kind === "anything";
    return !(repeated && tokens[index - 1]?.kind === token.kind);
  });
}

function readRanges(members: string, pattern: string): (readonly [string, string])[] {
  const ranges: (readonly [string, string])[] = [];
  const units = /(\\.|[^\\-])(?:-(\\.|[^\\-]))?/gsuy;
  while (units.lastIndex < members.length) {
    const match = units.exec(members);
    if (!match) throw badPattern(pattern);
    const [low, high] = [match[1] ?? "", match[2] ?? match[1] ?? ""].map((one) => one.replace(/^\\(?=.)/su, ""));
    ranges.push([low ?? "", high ?? ""]);
  }
  return ranges;
}

function toExpression(token: Token): string {
  switch (token.kind) {
    case "character":
      return literal(token.character);
    case "one":
      return "[^/]";
    case "star":
      return "[^/]*";
    case "anything":
      return ".*";
    case "directories":
      return "(?:.*/)?";
    case "class": {
      const ranges = token.ranges.filter(([low, high]) => compare(low, high) <= 0);
      const inside = ranges.map(([low, high]) => `${literal(low)}-${literal(high)}`).join("");
      return `[${token.negated ? "^" : ""}${inside}]`;
    }
  }
}

function literal(character: string): string {
  return `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`;
}

function compare(left: string, right: string): number {
  return (left.codePointAt(0) ?? 0) - (right.codePointAt(0) ?? 0);
}

/** All ways through the tokens at once: time grows with both lengths, never with their powers. */
function follow(tokens: readonly Token[], path: string): boolean {
  // A state is the token that comes next; one that is inside of directories is counted from the end of the tokens.
  const inside = tokens.length + 1;
  const withSkipped = (states: Set<number>): Set<number> => {
    for (const state of states) {
      const kind = tokens[state]?.kind;
      if (kind === "star" || kind === "anything" || kind === "directories") states.add(state + 1);
    }
    return states;
  };
  let states = withSkipped(new Set([0]));
  for (const character of path) {
    const next = new Set<number>();
    for (const state of states) {
      const at = state >= inside ? state - inside : state;
      const token = tokens[at];
      if (!token) continue;
      if (token.kind === "directories") {
        next.add(at + inside);
        if (character === "/") next.add(at + 1);
      } else if (token.kind === "anything" || (token.kind === "star" && character !== "/")) next.add(at);
      else if (token.kind !== "star" && matchesOne(token, character)) next.add(at + 1);
    }
    states = withSkipped(next);
    if (states.size === 0) return false;
  }
  return states.has(tokens.length);
}

function matchesOne(token: Token, character: string): boolean {
  if (token.kind === "character") return token.character === character;
  if (token.kind === "one") return character !== "/";
  if (token.kind !== "class") return false;
  const within = token.ranges.some(([low, high]) => compare(low, character) <= 0 && compare(character, high) <= 0);
  return within !== token.negated;
}

function badPattern(pattern: string): EngineError {
  return new EngineError("invalidArgument", `The pattern "${pattern}" has a syntax error in it`);
}
