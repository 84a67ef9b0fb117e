// Words of a Dockerfile as its reference ("Environment replacement") and Docker's lexer define them: close to a POSIX
// shell's (Shell Command Language 2.2 and 2.6.2), and not equal to it.
import { isSpace, quote } from "./characters.ts";
import { removePrefix, removeSuffix, replacePattern } from "./shell-patterns.ts";

/** Substitutions inside each other: each is a call inside of another's. */
const maxDepth = 100;
/** Of a word in a message. */
const maxShownLength = 1000;

export type Variables = ReadonlyMap<string, string>;

export interface LexerOptions {
  /** `\` or a backtick. */
  readonly escape: string;
  /** Keep quotes in the result. */
  readonly rawQuotes?: boolean;
  /** Keep escapes in the result. */
  readonly rawEscapes?: boolean;
  /** Treat quotes as ordinary characters: a heredoc's body. */
  readonly skipQuotes?: boolean;
  /** Leave what names an unknown variable as it is written. */
  readonly keepUnset?: boolean;
  /** Is told of each variable that the word names. */
  readonly onVariable?: (name: string, isSet: boolean) => void;
}

/** `word` with its variables replaced and its quotes removed. Throws an Error whose message is Docker's. */
export function expandWord(word: string, variables: Variables, options: LexerOptions): string {
  return run(word, variables, options).result;
}

/** The same, split at white space that no quote protects; a variable's value is split too. */
export function expandWords(word: string, variables: Variables, options: LexerOptions): string[] {
  return run(word, variables, options).words;
}

function run(word: string, variables: Variables, options: LexerOptions): { result: string; words: string[] } {
  try {
    return new ShellLexer(word, variables, options).processUntil(undefined, options.rawEscapes ?? false);
  } catch (error) {
    const shown = word.length > maxShownLength ? `${word.slice(0, maxShownLength)}…` : word;
    throw new Error(`failed to process ${quote(shown)}: ${(error as Error).message}`, { cause: error });
  }
}

class WordCollector {
  readonly #words: string[] = [];
  #current = "";

  /** Adds text that white space splits. */
  addSplit(text: string): void {
    for (const character of text) {
      if (isSpace(character)) this.#finish();
      else this.#current += character;
    }
  }

  addWhole(text: string): void {
    this.#current += text;
  }

  words(): string[] {
    this.#finish();
    return this.#words;
  }

  #finish(): void {
    if (this.#current !== "") this.#words.push(this.#current);
    this.#current = "";
  }
}

class ShellLexer {
  readonly #characters: readonly string[];
  #next = 0;
  #depth = 0;
  #rawEscapes: boolean;

  constructor(
    text: string,
    readonly variables: Variables,
    readonly options: LexerOptions,
  ) {
    this.#characters = Array.from(text);
    this.#rawEscapes = options.rawEscapes ?? false;
  }

  processUntil(stop: string | undefined, rawEscapes: boolean): { result: string; words: string[] } {
    if (this.#depth > maxDepth) throw new Error(`more than ${maxDepth} substitutions inside each other`);
    this.#depth++;
    const before = this.#rawEscapes;
    this.#rawEscapes = rawEscapes;
    try {
      return this.#processUntil(stop);
    } finally {
      this.#depth--;
      this.#rawEscapes = before;
    }
  }

  #processUntil(stop: string | undefined): { result: string; words: string[] } {
    const collector = new WordCollector();
    let result = "";
    while (this.#peek() !== undefined) {
      const character = this.#peek() ?? "";
      if (character === stop) {
        this.#next++;
        return { result, words: collector.words() };
      }
      const special = this.#special(character);
      if (special !== undefined) {
        result += special;
        if (character === "$") collector.addSplit(special);
        else collector.addWhole(special);
        continue;
      }
      this.#next++;
      if (character !== this.options.escape) {
        collector.addSplit(character);
        result += character;
        continue;
      }
      if (this.#rawEscapes) {
        collector.addWhole(character);
        result += character;
      }
      const escaped = this.#take();
      if (escaped === undefined) break;
      collector.addWhole(escaped);
      result += escaped;
    }
    if (stop !== undefined) throw new Error(`unexpected end of statement while looking for matching ${stop}`);
    return { result, words: collector.words() };
  }

  #special(character: string): string | undefined {
    if (character === "$") return this.#dollar();
    if (character === "<") return this.#possibleHeredoc();
    if (this.options.skipQuotes) return undefined;
    if (character === "'") return this.#singleQuotes();
    return character === '"' ? this.#doubleQuotes() : undefined;
  }

  #singleQuotes(): string {
    this.#next++;
    const end = this.#characters.indexOf("'", this.#next);
    if (end < 0) throw new Error("unexpected end of statement while looking for matching single-quote");
    const text = this.#characters.slice(this.#next, end).join("");
    this.#next = end + 1;
    return this.options.rawQuotes ? `'${text}'` : text;
  }

  #doubleQuotes(): string {
    this.#next++;
    const mark = this.options.rawQuotes ? '"' : "";
    let result = mark;
    for (;;) {
      const character = this.#peek();
      if (character === undefined) {
        throw new Error("unexpected end of statement while looking for matching double-quote");
      }
      if (character === "$") {
        result += this.#dollar();
        continue;
      }
      this.#next++;
      if (character === '"') return result + mark;
      if (character !== this.options.escape) {
        result += character;
        continue;
      }
      if (this.#rawEscapes) result += character;
      const following = this.#peek();
      if (following === undefined) continue;
      // Inside double quotes an escape stays what it is before any other character.
      const escapes = following === '"' || following === "$" || following === this.options.escape;
      result += escapes ? (this.#take() ?? "") : character;
    }
  }

  #dollar(): string {
    this.#next++;
    if (this.#peek() !== "{") {
      const name = this.#name();
      if (name === "") return "$";
      return this.#valueOf(name) ?? (this.options.keepUnset ? `$${name}` : "");
    }
    this.#next++;
    const first = this.#peek();
    if (first === undefined) throw new Error("syntax error: missing '}'");
    if (first === "{" || first === "}" || first === ":") throw new Error("syntax error: bad substitution");
    return this.#braces(this.#name());
  }

  /** What follows `${name`. */
  #braces(name: string): string {
    const value = this.#valueOf(name);
    const operator = this.#take();
    if (operator === "}") return value ?? (this.options.keepUnset ? `\${${name}}` : "");
    if (operator === "/") return this.#replace(name, value);
    if (operator === ":") {
      const second = this.#take() ?? "";
      if (!"-+?".includes(second) || second === "") {
        throw new Error(`unsupported modifier (:${second}) in substitution`);
      }
      return this.#conditional(name, { operator: second, written: `:${second}`, emptyIsUnset: true });
    }
    if (operator !== undefined && "-+?".includes(operator)) {
      return this.#conditional(name, { operator, written: operator, emptyIsUnset: false });
    }
    if (operator === "#" || operator === "%") return this.#trim(name, operator);
    if (operator === undefined) throw new Error("syntax error: missing '}'");
    throw new Error(`unsupported modifier (${operator}) in substitution`);
  }

  #valueOf(name: string): string | undefined {
    const value = this.variables.get(name);
    this.options.onVariable?.(name, value !== undefined);
    return value;
  }

  #conditional(name: string, form: { operator: string; written: string; emptyIsUnset: boolean }): string {
    const word = this.#until("}", { raw: false, missing: "missing '}'" });
    const value = this.#valueOf(name);
    if (value === undefined && this.options.keepUnset) return `\${${name}${form.written}${word}}`;
    const unset = value === undefined || (form.emptyIsUnset && value === "");
    if (form.operator === "-") return unset ? word : value;
    if (form.operator === "+") return unset ? "" : word;
    if (!unset) return value;
    throw new Error(`${name}: ${word || `is not allowed to be ${value === undefined ? "unset" : "empty"}`}`);
  }

  #trim(name: string, operator: "#" | "%"): string {
    const word = this.#until("}", { raw: true, missing: "missing '}'" });
    const value = this.#valueOf(name);
    if (value === undefined && this.options.keepUnset) return `\${${name}${operator}${word}}`;
    const longest = word.startsWith(operator);
    const pattern = longest ? word.slice(1) : word;
    return (operator === "#" ? removePrefix : removeSuffix)(value ?? "", pattern, { longest });
  }

  #replace(name: string, value: string | undefined): string {
    const all = this.#peek() === "/";
    if (all) this.#next++;
    const pattern = this.#until("/", { raw: true, missing: "missing '/' in ${}" });
    const replacement = this.#until("}", { raw: true, missing: "missing '}'" });
    if (value === undefined && this.options.keepUnset) return `\${${name}/${pattern}/${replacement}}`;
    return replacePattern(value ?? "", pattern, { replacement, all });
  }

  #until(stop: string, options: { raw: boolean; missing: string }): string {
    try {
      return this.processUntil(stop, options.raw).result;
    } catch (error) {
      if (this.#peek() === undefined) {
        throw new Error(`syntax error: ${options.missing}`, { cause: error });
      }
      throw error;
    }
  }

  #name(): string {
    const first = this.#peek();
    if (first === undefined) return "";
    if ("@*#?-$!0".includes(first) && first !== "0") {
      this.#next++;
      return first;
    }
    const pattern = /\p{Nd}/u.test(first) ? /\p{Nd}/u : /[\p{L}\p{Nd}_]/u;
    let name = "";
    for (let character = this.#peek(); character !== undefined && pattern.test(character); character = this.#peek()) {
      name += character;
      this.#next++;
    }
    return name;
  }

  /** `<<` keeps the blanks after it in its word: `<< EOF` is one. */
  #possibleHeredoc(): string {
    this.#next++;
    if (this.#peek() !== "<") return "<";
    this.#next++;
    let result = "<<";
    for (
      let character = this.#peek();
      character !== undefined && "\t\r ".includes(character);
      character = this.#peek()
    ) {
      result += character;
      this.#next++;
    }
    return result;
  }

  #peek(): string | undefined {
    return this.#characters[this.#next];
  }

  #take(): string | undefined {
    return this.#characters[this.#next++];
  }
}
