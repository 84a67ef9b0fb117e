/** Go's unicode.IsSpace, which the grammar is defined by. */
export function isSpace(character: string): boolean {
  return /^[\t\n\v\f\r \u0085\p{Z}]$/u.test(character);
}

/** Go's strings.TrimSpace: JavaScript's trim would take a byte-order mark and leave U+0085. */
export function trimSpace(text: string): string {
  return trimSpaceLeft(trimEnd(text, isSpace));
}

/** Without the characters at its end that `isTrimmed` takes. A regular expression would take the square of a long run's time. */
export function trimEnd(text: string, isTrimmed: (character: string) => boolean): string {
  let end = text.length;
  while (end > 0 && isTrimmed(text[end - 1] ?? "")) end--;
  return text.slice(0, end);
}

export function trimSpaceLeft(text: string): string {
  return text.replace(/^[\t\n\v\f\r \u0085\p{Z}]+/u, "");
}

/** What separates words of an instruction. */
export const whitespaceRun = /[\t\v\f\r ]+/;

/** Go's `%q` of a string: a Go string literal, as history entries and messages have it. */
export function quote(text: string): string {
  let result = '"';
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0;
    const short = { 7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\" }[
      code
    ];
    if (short) result += short;
    else if (code < 0x20 || code === 0x7f) result += `\\x${code.toString(16).padStart(2, "0")}`;
    else if (code < 0x7f || isPrintable(character)) result += character;
    else if (code < 0x10000) result += `\\u${code.toString(16).padStart(4, "0")}`;
    else result += `\\U${code.toString(16).padStart(8, "0")}`;
  }
  return `${result}"`;
}

/** Go's unicode.IsPrint beyond ASCII: letters, marks, numbers, punctuation, symbols. */
function isPrintable(character: string): boolean {
  return /^[\p{L}\p{M}\p{N}\p{P}\p{S}]$/u.test(character);
}
