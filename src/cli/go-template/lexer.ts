// The lexical grammar of Go's text/template (text/template/parse/lex.go).
import { TemplateError } from "./errors.ts";

export type TokenKind =
  | "text"
  | "open"
  | "close"
  | "space"
  | "pipe"
  | "leftParen"
  | "rightParen"
  | "string"
  | "rawString"
  | "character"
  | "number"
  | "field"
  | "dot"
  | "variable"
  | "identifier"
  | "declare"
  | "assign"
  | "comma"
  | "end";

export interface Token {
  readonly kind: TokenKind;
  readonly text: string;
  readonly line: number;
  /** Bytes from the line's beginning, as Go counts columns. */
  readonly column: number;
}

const whitespace = /[ \t\r\n]/;
const word = String.raw`[\p{L}\p{Nd}_]`;

const patterns: readonly (readonly [TokenKind, RegExp])[] = [
  ["space", /[ \t\r\n]+/y],
  ["declare", /:=/y],
  ["assign", /=/y],
  ["pipe", /\|/y],
  ["leftParen", /\(/y],
  ["rightParen", /\)/y],
  ["comma", /,/y],
  ["string", /"(?:[^"\\\n]|\\.)*"/y],
  ["rawString", /`[^`]*`/y],
  ["character", /'(?:[^'\\\n]|\\.)+'/y],
  ["number", /[+-]?(?:0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+|(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)/y],
  ["field", new RegExp(String.raw`\.${word}+`, "yu")],
  ["dot", /\./y],
  ["variable", new RegExp(String.raw`\$${word}*`, "yu")],
  ["identifier", new RegExp(`${word}+`, "yu")],
];

/** Splits a template into tokens; the last is `end`. Throws TemplateError as Go words it. */
export function tokenize(source: string): Token[] {
  return new Lexer(source).run();
}

class Lexer {
  readonly #source: string;
  readonly #tokens: Token[] = [];
  #at = 0;

  constructor(source: string) {
    this.#source = source;
  }

  run(): Token[] {
    let trimNext = false;
    for (;;) {
      const open = this.#source.indexOf("{{", this.#at);
      const end = open < 0 ? this.#source.length : open;
      const trimLeft = open >= 0 && /^\{\{-[ \t\r\n]/.test(this.#source.slice(open, open + 4));
      this.#text(this.#at, end, { trimStart: trimNext, trimEnd: trimLeft });
      if (open < 0) break;
      this.#at = open + (trimLeft ? 3 : 2);
      trimNext = this.#isComment() ? this.#comment() : this.#action(open);
    }
    this.#push("end", this.#source.length, "");
    return this.#tokens;
  }

  #text(start: number, end: number, trim: { trimStart: boolean; trimEnd: boolean }): void {
    let text = this.#source.slice(start, end);
    if (trim.trimStart) text = text.replace(/^[ \t\r\n]+/, "");
    if (trim.trimEnd) text = text.replace(/[ \t\r\n]+$/, "");
    if (text !== "") this.#push("text", start, text);
  }

  #isComment(): boolean {
    return /^[ \t\r\n]*\/\*/.test(this.#source.slice(this.#at));
  }

  /** Whether the text after it is to be trimmed. */
  #comment(): boolean {
    const end = this.#source.indexOf("*/", this.#at);
    if (end < 0) throw this.#error("unclosed comment");
    const close = /^([ \t\r\n]-)?\}\}/.exec(this.#source.slice(end + 2));
    if (!close) throw this.#error("comment ends before closing delimiter");
    this.#at = end + 2 + close[0].length;
    return close[1] !== undefined;
  }

  #action(open: number): boolean {
    this.#push("open", open, "{{");
    let parens = 0;
    for (;;) {
      const rest = this.#source.slice(this.#at, this.#at + 4);
      const trims = whitespace.test(rest[0] ?? "") && rest.slice(1) === "-}}";
      if (trims || rest.startsWith("}}")) {
        if (parens > 0) throw this.#error("unclosed left paren");
        this.#push("close", this.#at, "}}");
        this.#at += trims ? 4 : 2;
        return trims;
      }
      if (this.#at >= this.#source.length) throw this.#error("unclosed action");
      const token = this.#token();
      if (token === "leftParen") parens++;
      if (token === "rightParen" && --parens < 0) throw this.#error("unexpected right paren");
    }
  }

  #token(): TokenKind {
    // A space that belongs to a trim marker ends the run of spaces before it.
    const trim = /[ \t\r\n]+?(?=[ \t\r\n]-\}\})/y;
    trim.lastIndex = this.#at;
    const spaces = trim.exec(this.#source);
    if (spaces) return this.#take("space", spaces[0]);
    for (const [kind, pattern] of patterns) {
      pattern.lastIndex = this.#at;
      const match = pattern.exec(this.#source);
      if (match) return this.#take(kind, match[0]);
    }
    throw this.#badCharacter();
  }

  #take(kind: TokenKind, text: string): TokenKind {
    if (kind === "number" && /[\p{L}_]/u.test(this.#source[this.#at + text.length] ?? "")) {
      const bad = /^[+-]?[\p{L}\p{Nd}_.]+/u.exec(this.#source.slice(this.#at))?.[0] ?? text;
      throw this.#error(`bad number syntax: ${JSON.stringify(bad)}`);
    }
    this.#push(kind, this.#at, text);
    this.#at += text.length;
    if (/^(field|identifier|variable)$/.test(kind)) this.#checkTerminator();
    return kind;
  }

  #checkTerminator(): void {
    const next = this.#source.slice(this.#at, this.#at + 1);
    if (next === "" || /[ \t\r\n.,|:()=}]/.test(next)) return;
    const code = (next.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0");
    throw this.#error(`bad character U+${code} '${next}'`);
  }

  #badCharacter(): TemplateError {
    const character = String.fromCodePoint(this.#source.codePointAt(this.#at) ?? 0);
    if (character === '"') return this.#error("unterminated quoted string");
    if (character === "`") return this.#error("unterminated raw quoted string");
    if (character === "'") return this.#error("unterminated character constant");
    if (character === ":") return this.#error("expected :=");
    if (/[!-~]/.test(character)) return this.#error(`unexpected ${JSON.stringify(character)} in command`);
    const code = (character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0");
    return this.#error(`unrecognized character in action: U+${code} '${character}'`);
  }

  #push(kind: TokenKind, at: number, text: string): void {
    const before = this.#source.slice(0, at);
    const lineStart = before.lastIndexOf("\n") + 1;
    const line = before.split("\n").length;
    this.#tokens.push({ kind, text, line, column: Buffer.byteLength(before.slice(lineStart)) });
  }

  #error(message: string): TemplateError {
    return new TemplateError(`template: :${this.#source.slice(0, this.#at).split("\n").length}: ${message}`);
  }
}
