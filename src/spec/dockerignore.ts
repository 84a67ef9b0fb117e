// .dockerignore as its reference defines it ("build context", ".dockerignore files"): Go's filepath.Match, `**`, and `!`.
import { posix } from "node:path";
import { EngineError } from "../common/index.ts";

export interface IgnoreRules {
  /** Whether a path of the context, relative and with slashes, stays out of it. */
  ignores(path: string): boolean;
  /** Whether some rule takes files back in, so that an ignored directory must still be looked into. */
  readonly hasExceptions: boolean;
}

interface Rule {
  readonly exception: boolean;
  readonly pattern: RegExp;
}

/**
 * Reads the text of a .dockerignore. Throws `invalidArgument` for a pattern that cannot be read. Letter case counts; a
 * pattern matches a path or any of its parents; the last rule that matches decides.
 */
export function parseIgnoreFile(text: string): IgnoreRules {
  const patterns: string[] = [];
  for (const line of text.replace(/^\uFEFF/, "").split("\n")) {
    if (line.startsWith("#")) continue;
    const trimmed = trimSpace(line);
    if (trimmed !== "") patterns.push(trimmed);
  }
  return createIgnoreRules(patterns);
}

export function createIgnoreRules(patterns: readonly string[]): IgnoreRules {
  const rules = patterns.map(toRule);
  return {
    hasExceptions: rules.some((rule) => rule.exception),
    ignores(path) {
      const candidates = withParents(posix.normalize(path));
      let ignored = false;
      for (const rule of rules) {
        // A rule that would change nothing need not be tried.
        if (rule.exception === ignored && candidates.some((candidate) => rule.pattern.test(candidate))) {
          ignored = !rule.exception;
        }
      }
      return ignored;
    },
  };
}

/** Go's strings.TrimSpace: JavaScript's trim would take a byte-order mark and leave U+0085. */
function trimSpace(text: string): string {
  return text.replace(/^[\t\n\v\f\r \u0085\p{Z}]+|[\t\n\v\f\r \u0085\p{Z}]+$/gu, "");
}

function withParents(path: string): string[] {
  const parts = path.split("/");
  return parts.map((_, index) => parts.slice(0, index + 1).join("/"));
}

function toRule(written: string): Rule {
  const exception = written.startsWith("!");
  const text = exception ? trimSpace(written.slice(1)) : written;
  if (text === "") throw new EngineError("invalidArgument", `illegal exclusion pattern: "!"`);
  const cleaned = cleanPath(text);
  const relative = cleaned.length > 1 && cleaned.startsWith("/") ? cleaned.slice(1) : cleaned;
  try {
    return { exception, pattern: new RegExp(`^${translate(relative)}$`, "su") };
  } catch (error) {
    throw new EngineError("invalidArgument", `syntax error in pattern "${written}" of .dockerignore`, { cause: error });
  }
}

/** Go's filepath.Clean: no slash at the end, no `.` and no `..` that could be resolved. */
function cleanPath(path: string): string {
  const normal = posix.normalize(path);
  return normal.length > 1 && normal.endsWith("/") ? normal.slice(0, -1) : normal;
}

function translate(pattern: string): string {
  // At the beginning and before plain characters `**` is any text, not only directories: `**.md`.
  if (/^\*\*[^/*?[\]\\][^*?[\]\\]*$/.test(pattern)) return `.*${Array.from(pattern.slice(2), literal).join("")}`;
  let source = "";
  const tokens = /\*\*\/?|\*|\?|\\(.)|\[(\^?)((?:\\.|[^\]\\])+)\]|(.)/gsuy;
  for (;;) {
    const from = tokens.lastIndex;
    const match = tokens.exec(pattern);
    if (!match) {
      if (from === pattern.length) return source;
      throw new Error(`bad pattern at ${from}`);
    }
    source += translateToken(match, tokens.lastIndex === pattern.length);
  }
}

function translateToken(match: RegExpExecArray, last: boolean): string {
  const [token, escaped, negated, members, plain] = match;
  // `**` stands for any number of directories, none included; at the end it stands for everything.
  if (token.startsWith("**")) return last ? ".*" : "(?:.*/)?";
  if (token === "*") return "[^/]*";
  if (token === "?") return "[^/]";
  if (escaped !== undefined) return literal(escaped);
  if (members !== undefined) return characterClass(members, negated === "^");
  if (plain === "[" || plain === "\\") throw new Error("bad pattern");
  return literal(plain ?? "");
}

function characterClass(members: string, negated: boolean): string {
  const ranges = [...members.matchAll(/(\\.|[^\\])(?:-(\\.|[^\\]))?/gsu)];
  const inside = ranges.map(([, low = "", high]) => {
    const from = literal(low.replace(/^\\/, ""));
    return high === undefined ? from : `${from}-${literal(high.replace(/^\\/, ""))}`;
  });
  return `[${negated ? "^" : ""}${inside.join("")}]`;
}

function literal(character: string): string {
  return /[\^$\\.*+?()[\]{}|/-]/.test(character) ? `\\${character}` : character;
}
