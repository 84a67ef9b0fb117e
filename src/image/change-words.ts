// The words of a Dockerfile instruction's arguments, for those that a commit or import may carry.
import { EngineError } from "../common/index.ts";

type Lookup = (name: string) => string | undefined;

/**
 * Splits at blanks outside quotes, removes quotes and escapes, and puts variables in: `$NAME`, `${NAME}`, `${NAME:-word}`,
 * `${NAME:+word}`. Nothing is expanded in single quotes.
 */
export function splitWords(text: string, lookup: Lookup): string[] {
  const words: string[] = [];
  let word: string | undefined;
  let rest = text;
  while (rest.length > 0) {
    const blank = /^\s+/.exec(rest)?.[0];
    if (blank !== undefined) {
      if (word !== undefined) words.push(word);
      word = undefined;
      rest = rest.slice(blank.length);
      continue;
    }
    const piece = nextPiece(rest, lookup);
    word = (word ?? "") + piece.value;
    rest = rest.slice(piece.length);
  }
  if (word !== undefined) words.push(word);
  return words;
}

/** The whole text as one word: quotes, escapes and variables are processed, blanks stay. */
export function expandText(text: string, lookup: Lookup): string {
  let result = "";
  for (let rest = text; rest.length > 0;) {
    const blank = /^\s+/.exec(rest)?.[0];
    const piece = blank === undefined ? nextPiece(rest, lookup) : { value: blank, length: blank.length };
    result += piece.value;
    rest = rest.slice(piece.length);
  }
  return result;
}

interface Piece {
  readonly value: string;
  readonly length: number;
}

function nextPiece(text: string, lookup: Lookup): Piece {
  const first = text[0] ?? "";
  if (first === "'") {
    const end = text.indexOf("'", 1);
    if (end === -1) throw invalid(`unexpected end of statement while looking for matching single-quote in "${text}"`);
    return { value: text.slice(1, end), length: end + 1 };
  }
  if (first === '"') return doubleQuoted(text, lookup);
  if (first === "\\") return { value: text[1] ?? "\\", length: Math.min(2, text.length) };
  if (first === "$") return variable(text, lookup);
  return { value: first, length: 1 };
}

function doubleQuoted(text: string, lookup: Lookup): Piece {
  let value = "";
  let at = 1;
  while (at < text.length && text[at] !== '"') {
    const rest = text.slice(at);
    // Within double quotes a backslash escapes only what would otherwise mean something.
    const escaped = /^\\(["\\$])/.exec(rest)?.[1];
    const plain = { value: rest[0] ?? "", length: 1 };
    const piece =
      escaped !== undefined ? { value: escaped, length: 2 } : rest[0] === "$" ? variable(rest, lookup) : plain;
    value += piece.value;
    at += piece.length;
  }
  if (at >= text.length) {
    throw invalid(`unexpected end of statement while looking for matching double-quote in "${text}"`);
  }
  return { value, length: at + 1 };
}

function variable(text: string, lookup: Lookup): Piece {
  const plain = /^\$([A-Za-z_]\w*)/.exec(text);
  if (plain) return { value: lookup(plain[1] ?? "") ?? "", length: plain[0].length };
  if (!text.startsWith("${")) return { value: "$", length: 1 };
  const braced = /^\$\{([A-Za-z_]\w*)(?:(:[-+])([^${}'"\\]*))?\}/.exec(text);
  if (!braced)
    throw new EngineError("unsupported", `The variable substitution in "${text}" is not supported in a change`);
  const [whole, name = "", modifier, word = ""] = braced;
  const value = lookup(name) ?? "";
  if (modifier === ":-") return { value: value === "" ? word : value, length: whole.length };
  if (modifier === ":+") return { value: value === "" ? "" : word, length: whole.length };
  return { value, length: whole.length };
}

/** `a=b c="d e"` into pairs; quotes around either side are removed. Blanks within quotes belong to the word. */
export function splitPairs(text: string, options: { instruction: string; lookup: Lookup }): [string, string][] {
  const raw = text.match(/(?:'[^']*'|"(?:\\.|[^"\\])*"|\\.|\S)+/gs) ?? [];
  return raw.map((word) => {
    const equals = word.indexOf("=");
    if (equals === -1) throw invalid(`Syntax error - can't find = in "${word}". Must be of the form: name=value`);
    const name = expandText(word.slice(0, equals), options.lookup);
    if (name === "") throw invalid(`${options.instruction} names can not be blank`);
    return [name, expandText(word.slice(equals + 1), options.lookup)];
  });
}

/** `["a", "b"]` as a list; undefined for what is no JSON list of text, which then is the shell form. */
export function jsonForm(text: string): string[] | undefined {
  if (!text.trimStart().startsWith("[")) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    if (Array.isArray(value) && value.every((entry) => typeof entry === "string")) return value;
  } catch {
    // Docker takes malformed JSON for a command line.
  }
  return undefined;
}

export function invalid(message: string): EngineError {
  return new EngineError("invalidArgument", message);
}
