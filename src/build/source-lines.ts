import { DockerfileFault, type Position, type SourceText } from "./dockerfile-error.ts";
import { trimEnd, trimSpace, trimSpaceLeft } from "./characters.ts";
import { DirectiveReader, type Directives } from "./directives.ts";

/** A Dockerfile is text that people write; anything longer is a mistake or an attack. */
export const dockerfileLimits = { sizeBytes: 4 * 1024 * 1024, lineBytes: 1024 * 1024, stages: 1000 } as const;

/** One instruction's text with its continuation lines joined, and where each part of it stood. */
export class LogicalLine {
  constructor(
    readonly text: string,
    readonly parts: readonly { readonly offset: number; readonly position: Position }[],
    readonly endLine: number,
  ) {}

  /** The place in the file of a character of `text`. */
  positionAt(offset: number): Position {
    // Halving: a stranger's line may have as many parts as flags that ask for their places.
    let [first, end] = [0, this.parts.length];
    while (end - first > 1) {
      const middle = (first + end) >> 1;
      if ((this.parts[middle]?.offset ?? 0) <= offset) first = middle;
      else end = middle;
    }
    const part = this.parts[first];
    if (!part) return { line: this.endLine, column: 1 };
    return { line: part.position.line, column: part.position.column + offset - part.offset };
  }

  /** The rest from `offset` on, with its positions. */
  slice(offset: number): LogicalLine {
    const parts = this.parts.map((part) => ({ ...part, offset: part.offset - offset }));
    return new LogicalLine(this.text.slice(offset), parts, this.endLine);
  }
}

const isLineEnd = (character: string): boolean => character === "\r" || character === "\n";

/** The first empty line inside a continued one, and the last line of the whole. */
export interface EmptyContinuation {
  readonly line: number;
  readonly endLine: number;
}

/** Reads logical lines: comments and empty lines go, continuations are joined, directives are taken note of. */
export class SourceLines {
  readonly source: SourceText;
  /** Empty lines inside a continued one, the first of each: Docker warns of them. */
  readonly emptyContinuations: EmptyContinuation[] = [];
  /** The comments right above the line that `next` gave. */
  comments: readonly string[] = [];
  #commentsBelow: string[] = [];
  readonly #rawLines: readonly string[];
  readonly #directives = new DirectiveReader();
  #next = 0;

  constructor(text: string, fileName: string) {
    this.#rawLines = text.replace(/^\uFEFF/, "").match(/[^\n]*\n|[^\n]+$/g) ?? [];
    this.source = { fileName, text, lines: this.#rawLines.map((line) => trimEnd(line, isLineEnd)) };
  }

  get directives(): Directives {
    return this.#directives.found;
  }

  /** The next instruction's line; undefined at the end of the file. */
  next(): LogicalLine | undefined {
    while (this.#next < this.#rawLines.length) {
      const line = this.source.lines[this.#next++] ?? "";
      const text = trimSpaceLeft(line);
      const isDirective = this.#directives.read(text, this.#next);
      if (text.startsWith("#") && !isDirective) this.#noteComment(trimSpace(text.slice(1)));
      if (text === "" || text.startsWith("#")) continue;
      this.comments = this.#commentsBelow;
      this.#commentsBelow = [];
      return this.#join(text, { line: this.#next, column: line.length - text.length + 1 });
    }
    return undefined;
  }

  /** A comment without text parts those above it from the instruction below. */
  #noteComment(text: string): void {
    if (text === "") this.#commentsBelow = [];
    else this.#commentsBelow.push(text);
  }

  #join(first: string, position: Position): LogicalLine | undefined {
    const parts = [{ offset: 0, position }];
    let { text, continued } = this.#cutContinuation(first);
    let emptyLine: number | undefined;
    while (continued && this.#next < this.#rawLines.length) {
      const line = this.source.lines[this.#next++] ?? "";
      const content = trimSpaceLeft(line);
      if (content.startsWith("#")) continue;
      if (content === "") {
        emptyLine ??= this.#next;
        continue;
      }
      parts.push({ offset: text.length, position: { line: this.#next, column: 1 } });
      const cut = this.#cutContinuation(line);
      text += cut.text;
      continued = cut.continued;
    }
    if (emptyLine !== undefined) this.emptyContinuations.push({ line: emptyLine, endLine: this.#next });
    if (text.length > dockerfileLimits.lineBytes) {
      throw new DockerfileFault(
        `dockerfile line greater than max allowed size of ${dockerfileLimits.lineBytes}`,
        position,
      );
    }
    // A lone escape before the end of the file continues nothing.
    return trimSpaceLeft(text) === "" ? this.next() : new LogicalLine(text, parts, this.#next);
  }

  #cutContinuation(line: string): { text: string; continued: boolean } {
    const escape = this.directives.escape;
    const trimmed = trimEnd(line, (character) => character === " " || character === "\t");
    // An escape before the escape makes it an ordinary character.
    if (!trimmed.endsWith(escape) || trimmed.at(-2) === escape) return { text: line, continued: false };
    return { text: trimmed.slice(0, -1), continued: true };
  }

  /** The lines up to one that is `terminator`. Its ends of line are kept. */
  readHeredoc(terminator: string, options: { chomp: boolean; position: Position }): string {
    let content = "";
    while (this.#next < this.#rawLines.length) {
      const raw = this.#rawLines[this.#next] ?? "";
      const line = this.source.lines[this.#next++] ?? "";
      if ((options.chomp ? line.replace(/^\t+/, "") : line) === terminator) return content;
      content += raw;
    }
    throw new DockerfileFault("unterminated heredoc", options.position);
  }

  get line(): number {
    return this.#next;
  }
}
