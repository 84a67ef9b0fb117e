// Patterns of ${name#pattern} and ${name/pattern/text}: `*` and `?` of POSIX Shell Command Language 2.13, without brackets.
// They are followed state by state: a regular expression would backtrack without bound on what a stranger wrote.

/** Steps that one substitution may take; far beyond any pattern on any value that a person writes. */
const maxSteps = 5_000_000;

type Token = { readonly kind: "star" | "any" } | { readonly kind: "character"; readonly character: string };

/** `value` without the shortest (or longest) beginning that matches. */
export function removePrefix(value: string, pattern: string, options: { longest: boolean }): string {
  const characters = Array.from(value);
  const end = new PatternRun(parsePattern(pattern)).endFrom(characters, 0, options);
  return end === undefined ? value : characters.slice(end).join("");
}

/** `value` without the shortest (or longest) end that matches. */
export function removeSuffix(value: string, pattern: string, options: { longest: boolean }): string {
  const characters = Array.from(value).toReversed();
  const end = new PatternRun(parsePattern(pattern).toReversed()).endFrom(characters, 0, options);
  return end === undefined ? value : characters.slice(end).toReversed().join("");
}

/** `value` with the first match, or all, replaced; a match is as long as possible. */
export function replacePattern(value: string, pattern: string, options: { replacement: string; all: boolean }): string {
  const characters = Array.from(value);
  const run = new PatternRun(parsePattern(pattern));
  let result = "";
  let at = 0;
  while (at <= characters.length) {
    const end = run.endFrom(characters, at, { longest: true });
    if (end === undefined) {
      result += characters[at++] ?? "";
      continue;
    }
    result += options.replacement;
    if (!options.all) return result + characters.slice(end).join("");
    // An empty match stands between two characters, so the next one is kept.
    if (end === at) result += characters[at] ?? "";
    at = Math.max(end, at + 1);
    if (at === characters.length && end > 0) break;
  }
  return result;
}

/** Follows all ways through a pattern at once. */
class PatternRun {
  #steps = 0;

  constructor(readonly tokens: readonly Token[]) {}

  /** Where a match that begins at `start` ends; undefined when none does. */
  endFrom(characters: readonly string[], start: number, options: { longest: boolean }): number | undefined {
    let states = this.#withStars(new Set([0]));
    let end: number | undefined;
    for (let at = start; ; at++) {
      if (states.has(this.tokens.length)) {
        end = at;
        if (!options.longest) return end;
      }
      const character = characters[at];
      if (character === undefined || states.size === 0) return end;
      states = this.#advance(states, character);
    }
  }

  #advance(states: ReadonlySet<number>, character: string): Set<number> {
    const next = new Set<number>();
    for (const state of states) {
      if (++this.#steps > maxSteps) throw new Error("a pattern in a substitution takes too long on its value");
      const token = this.tokens[state];
      if (token?.kind === "star") next.add(state);
      else if (token?.kind === "any" || (token?.kind === "character" && token.character === character))
        next.add(state + 1);
    }
    return this.#withStars(next);
  }

  /** A star may stand for nothing. */
  #withStars(states: Set<number>): Set<number> {
    for (const state of states) if (this.tokens[state]?.kind === "star") states.add(state + 1);
    return states;
  }
}

function parsePattern(pattern: string): Token[] {
  return (pattern.match(/\\.|./gsu) ?? []).map((unit): Token => {
    if (unit === "*") return { kind: "star" };
    if (unit === "?") return { kind: "any" };
    if (unit.length === 1 || !unit.startsWith("\\")) return { kind: "character", character: unit };
    const character = unit.slice(1);
    // `}` and `/` are escaped for the substitution's sake.
    if (!"}/*?\\".includes(character)) {
      throw new Error(`invalid pattern (${pattern}) in substitution: invalid escape '${unit}'`);
    }
    return { kind: "character", character };
  });
}
