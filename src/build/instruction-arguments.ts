// The forms that arguments of instructions have; each takes the text after name and flags.
import { DockerfileFault, type Position } from "./dockerfile-error.ts";
import { isSpace, quote, trimSpaceLeft, whitespaceRun } from "./characters.ts";
import type { CommandLine, KeyValue } from "./instruction.ts";
import { splitOnce } from "./instruction-flags.ts";

/** Text of an instruction's arguments, trimmed, and where it begins. */
export interface ArgumentText {
  readonly text: string;
  readonly escape: string;
  positionAt(offset: number): Position;
}

export function splitWhitespace(text: string): string[] {
  return text === "" ? [] : text.split(whitespaceRun);
}

/** A JSON array of strings, or undefined for what is no JSON array: that is shell form. */
export function parseJsonStrings(input: ArgumentText): string[] | undefined {
  if (!trimSpaceLeft(input.text).startsWith("[")) return undefined;
  let parsed: unknown;
  try {
    parsed = JSON.parse(input.text);
  } catch {
    return undefined;
  }
  if (!Array.isArray(parsed)) return undefined;
  if (!parsed.every((element) => typeof element === "string")) {
    throw new DockerfileFault(
      "when using JSON array syntax, arrays must be comprised of strings only",
      input.positionAt(0),
    );
  }
  return parsed;
}

export function parseCommandLine(input: ArgumentText): CommandLine {
  const json = parseJsonStrings(input);
  if (json) return { form: "exec", arguments: json };
  return { form: "shell", arguments: input.text === "" ? [] : [input.text] };
}

export function parseList(input: ArgumentText): string[] {
  return parseJsonStrings(input) ?? splitWhitespace(input.text);
}

interface Word {
  readonly text: string;
  readonly offset: number;
}

/** Words separated by white space outside of quotes; quotes and escapes stay, for the expansion to take off. */
export function splitQuotedWords({ text, escape }: ArgumentText): Word[] {
  const words: Word[] = [];
  let at = 0;
  while (at < text.length) {
    if (isSpace(text[at] ?? "")) {
      at++;
      continue;
    }
    const word = takeQuotedWord(text, at, escape);
    words.push({ text: word.text, offset: at });
    at = word.end;
  }
  return words;
}

function takeQuotedWord(text: string, start: number, escape: string): { text: string; end: number } {
  let result = "";
  let quoted = "";
  let at = start;
  for (; at < text.length; at++) {
    const character = text[at] ?? "";
    if (quoted === "" && isSpace(character)) break;
    if (character === escape && quoted !== "'") {
      if (at + 1 === text.length) continue;
      at++;
      result += character + (text[at] ?? "");
      continue;
    }
    if (quoted === "" && (character === "'" || character === '"')) quoted = character;
    else if (character === quoted) quoted = "";
    result += character;
  }
  return { text: result, end: at };
}

/** `key=value …`, or the old form `key value with blanks`. */
export function parsePairs(input: ArgumentText, instruction: "ENV" | "LABEL"): KeyValue[] {
  const words = splitQuotedWords(input);
  const first = words[0];
  if (!first) throw new DockerfileFault(`${instruction} requires at least one argument`, input.positionAt(0));
  if (!first.text.includes("=")) {
    const match = whitespaceRun.exec(input.text);
    if (!match) throw new DockerfileFault(`${instruction} must have two arguments`, input.positionAt(0));
    const value = input.text.slice(match.index + match[0].length);
    return [{ key: input.text.slice(0, match.index), value, legacy: true }];
  }
  return words.map((word) => {
    const [key, value] = splitOnce(word.text, "=");
    if (value === undefined) {
      throw new DockerfileFault(
        `Syntax error - can't find = in ${quote(word.text)}. Must be of the form: name=value`,
        input.positionAt(word.offset),
      );
    }
    if (key === "") {
      throw new DockerfileFault(`${instruction} names can not be blank`, input.positionAt(word.offset));
    }
    return { key, value };
  });
}
