// Patterns of ${name#pattern} and ${name/pattern/text}: `*` and `?` of POSIX Shell Command Language 2.13, without brackets.

/** `value` without the shortest (or longest) beginning that matches. */
export function removePrefix(value: string, pattern: string, options: { longest: boolean }): string {
  const match = toRegExp(pattern, { ...options, anchored: true }).exec(value);
  return match ? value.slice(match[0].length) : value;
}

/** `value` without the shortest (or longest) end that matches. */
export function removeSuffix(value: string, pattern: string, options: { longest: boolean }): string {
  // A regular expression finds the leftmost match only, so both sides are turned round.
  const turned = removePrefix(reverse(Array.from(value)), reverse(units(pattern)), options);
  return reverse(Array.from(turned));
}

/** `value` with the first match, or all, replaced; a match is as long as possible. */
export function replacePattern(value: string, pattern: string, options: { replacement: string; all: boolean }): string {
  const regExp = toRegExp(pattern, { longest: true, anchored: false });
  if (options.all) return value.replace(new RegExp(regExp, "gu"), () => options.replacement);
  return value.replace(regExp, () => options.replacement);
}

function reverse(parts: readonly string[]): string {
  return parts.toReversed().join("");
}

/** Characters of a pattern; an escape and what it escapes are one. */
function units(pattern: string): string[] {
  return pattern.match(/\\.|./gsu) ?? [];
}

function toRegExp(pattern: string, options: { longest: boolean; anchored: boolean }): RegExp {
  let source = options.anchored ? "^" : "";
  for (const unit of units(pattern)) {
    if (unit === "*") source += options.longest ? ".*" : ".*?";
    else if (unit === "?") source += ".";
    // `}` and `/` are escaped for the substitution's sake; the escape is no part of the pattern.
    else if (unit === "\\}" || unit === "\\/") source += escapeRegExp(unit.slice(1));
    else if (unit === "\\*" || unit === "\\?" || unit === "\\\\") source += unit;
    else if (unit.startsWith("\\")) {
      throw new Error(`invalid pattern (${pattern}) in substitution: invalid escape '${unit}'`);
    } else source += escapeRegExp(unit);
  }
  return new RegExp(source, "u");
}

function escapeRegExp(character: string): string {
  return /[[\]{}.+()|^$/*?\\]/.test(character) ? `\\${character}` : character;
}
