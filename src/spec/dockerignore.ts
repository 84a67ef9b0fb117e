// .dockerignore as its reference defines it ("build context", ".dockerignore files") and moby/patternmatcher reads it.
import { posix } from "node:path";
import { EngineError } from "../common/index.ts";
import { compilePathPattern, type PathPattern } from "./path-pattern.ts";

export interface IgnoreRules {
  /** Whether a path of the context, relative and with slashes, stays out of it. */
  ignores(path: string): boolean;
  /** Whether some rule takes files back in, so that an ignored directory must still be looked into. */
  readonly hasExceptions: boolean;
  /** The patterns that leave files out, cleaned. */
  readonly patterns: readonly string[];
}

interface Rule {
  readonly exception: boolean;
  readonly text: string;
  readonly matches: PathPattern;
}

/** What a file of patterns may hold: each path is tried against all of them. */
const maxPatterns = 10_000;

/**
 * Reads the text of a .dockerignore. Throws `invalidArgument` for a pattern that cannot be read. Letter case counts; a
 * pattern matches a path or any of its parents; the last rule that matches decides. A slash at a pattern's beginning is the
 * context's root.
 */
export function parseIgnoreFile(text: string): IgnoreRules {
  return createIgnoreRules(ignorePatterns(text));
}

/** The patterns of a .dockerignore, cleaned, as clients send them on. */
export function ignorePatterns(text: string): string[] {
  const patterns: string[] = [];
  for (const line of text.replace(/^\uFEFF/, "").split("\n")) {
    if (line.startsWith("#")) continue;
    const trimmed = trimSpace(line);
    if (trimmed === "") continue;
    const exception = trimmed.startsWith("!");
    const pattern = exception ? trimSpace(trimmed.slice(1)) : trimmed;
    const cleaned = pattern === "" ? "" : cleanPath(pattern);
    patterns.push((exception ? "!" : "") + (cleaned.length > 1 ? cleaned.replace(/^\//, "") : cleaned));
  }
  return patterns;
}

/** Rules of patterns as `--exclude` of COPY has them: a slash at the beginning is taken as it is. */
export function createIgnoreRules(patterns: readonly string[]): IgnoreRules {
  if (patterns.length > maxPatterns) {
    throw new EngineError("invalidArgument", `There are more than ${maxPatterns} patterns of files to leave out`);
  }
  const rules = patterns.flatMap((pattern) => toRule(trimSpace(pattern)) ?? []);
  return {
    hasExceptions: rules.some((rule) => rule.exception),
    patterns: rules.flatMap((rule) => (rule.exception ? [] : [rule.text])),
    ignores(path) {
      const normal = cleanPath(path);
      // Nobody leaves out everything by a pattern that matches the root's own name.
      if (normal === ".") return false;
      const candidates = withParents(normal);
      let ignored = false;
      for (const rule of rules) {
        // A rule that would change nothing need not be tried.
        if (rule.exception === ignored && candidates.some(rule.matches)) ignored = !rule.exception;
      }
      return ignored;
    },
  };
}

/** Go's strings.TrimSpace: JavaScript's trim would take a byte-order mark and leave U+0085. */
function trimSpace(text: string): string {
  const isSpace = (character: string | undefined): boolean => /^[\t\n\v\f\r \u0085\p{Z}]$/u.test(character ?? "");
  let [start, end] = [0, text.length];
  while (start < end && isSpace(text[start])) start++;
  while (end > start && isSpace(text[end - 1])) end--;
  return text.slice(start, end);
}

/** The path itself first: most patterns name files. */
function withParents(path: string): string[] {
  const candidates = [path];
  for (let at = path.lastIndexOf("/"); at > 0; at = path.lastIndexOf("/", at - 1)) candidates.push(path.slice(0, at));
  return candidates;
}

function toRule(written: string): Rule | undefined {
  if (written === "") return undefined;
  const exception = written.startsWith("!");
  const text = exception ? written.slice(1) : written;
  if (text === "") throw new EngineError("invalidArgument", `illegal exclusion pattern: "!"`);
  const cleaned = cleanPath(text);
  try {
    return { exception, text: cleaned, matches: compilePathPattern(cleaned, { globstar: true }) };
  } catch (error) {
    throw new EngineError("invalidArgument", `syntax error in pattern "${written}" of .dockerignore`, { cause: error });
  }
}

/** Go's filepath.Clean: no slash at the end, no `.` and no `..` that could be resolved. */
function cleanPath(path: string): string {
  const normal = posix.normalize(path);
  return normal.length > 1 && normal.endsWith("/") ? normal.slice(0, -1) : normal;
}
