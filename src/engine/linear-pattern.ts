// Regular expressions in time linear in the text, as RE2 has them, which Docker's filters use: a client's pattern must not stall the engine.
import { EngineError } from "../common/index.ts";

const maxPatternCharacters = 1000;
const maxRepetitions = 1000;
const maxSteps = 10_000;

type Step =
  | { readonly kind: "character"; readonly fits: (character: string) => boolean }
  | { readonly kind: "either"; readonly targets: number[] }
  | { readonly kind: "edge"; readonly fits: (before: string | undefined, after: string | undefined) => boolean }
  | { readonly kind: "match" };

/** What a piece of a pattern adds to the program; it may be added several times. */
type Piece = (program: Step[]) => void;

/**
 * A predicate that says whether a pattern is found anywhere in a text. Knows literals, `.`, classes, `\d \w \s \b` and their opposites,
 * anchors, groups, alternatives and repetitions. Throws invalidArgument for anything else, such as look-around and back references.
 */
export function linearPattern(pattern: string): (text: string) => boolean {
  if (pattern.length > maxPatternCharacters) {
    throw new EngineError("invalidArgument", `The pattern has over ${maxPatternCharacters} characters`);
  }
  const parser = new PatternParser(pattern);
  const program: Step[] = [];
  parser.whole()(program);
  program.push({ kind: "match" });
  return (text) => run(program, text);
}

/** All places in the program at once, one character after the other. */
function run(program: readonly Step[], text: string): boolean {
  const characters = [...text];
  let places = new Set<number>();
  for (let at = 0; at <= characters.length; at++) {
    const [before, character] = [characters[at - 1], characters[at]];
    // A match may begin at each character.
    const reached = reach(program, [...places, 0], { before, after: character });
    if (reached.has(program.length - 1)) return true;
    places = new Set();
    if (character === undefined) return false;
    for (const place of reached) {
      const step = program[place];
      if (step?.kind === "character" && step.fits(character)) places.add(place + 1);
    }
  }
  return false;
}

function reach(
  program: readonly Step[],
  from: readonly number[],
  { before, after }: { before: string | undefined; after: string | undefined },
): Set<number> {
  const reached = new Set<number>();
  const waiting = [...from];
  for (let place = waiting.pop(); place !== undefined; place = waiting.pop()) {
    if (reached.has(place)) continue;
    reached.add(place);
    const step = program[place];
    if (step?.kind === "either") waiting.push(...step.targets);
    if (step?.kind === "edge" && step.fits(before, after)) waiting.push(place + 1);
  }
  return reached;
}

const isDigit = (character: string): boolean => /^\d$/.test(character);
const isWord = (character: string | undefined): boolean => character !== undefined && /^\w$/.test(character);
const isSpace = (character: string): boolean => /^\s$/.test(character);
const classes: Readonly<Record<string, (character: string) => boolean>> = {
  d: isDigit,
  w: isWord,
  s: isSpace,
  D: (character) => !isDigit(character),
  W: (character) => !isWord(character),
  S: (character) => !isSpace(character),
};
const controls: Readonly<Record<string, string>> = { n: "\n", t: "\t", r: "\r", f: "\f", v: "\v" };

class PatternParser {
  readonly #characters: readonly string[];
  #at = 0;

  constructor(private readonly pattern: string) {
    this.#characters = [...pattern];
  }

  whole(): Piece {
    const piece = this.#alternatives();
    if (this.#at < this.#characters.length) throw this.#wrong("a parenthesis is closed that was not opened");
    return piece;
  }

  #alternatives(): Piece {
    const choices = [this.#sequence()];
    while (this.#take("|")) choices.push(this.#sequence());
    return choices.length === 1 ? (choices[0] as Piece) : eitherOf(choices);
  }

  #sequence(): Piece {
    const pieces: Piece[] = [];
    for (let next = this.#peek(); next !== undefined && next !== "|" && next !== ")"; next = this.#peek()) {
      pieces.push(this.#repeated(this.#atom()));
    }
    return (program) => {
      for (const piece of pieces) add(program, piece);
    };
  }

  #repeated(piece: Piece): Piece {
    const { least, most } = this.#repetition() ?? { least: 1, most: 1 };
    // Lazy or not makes no difference to whether something is found.
    if (least !== 1 || most !== 1) this.#take("?");
    return (program) => {
      for (let count = 0; count < least; count++) add(program, piece);
      if (most === Infinity) return many(program, piece);
      for (let count = least; count < most; count++) {
        // Nested, so that each is tried only after the one before it: here by leaving any of them out.
        const either = { kind: "either" as const, targets: [program.length + 1] };
        program.push(either);
        add(program, piece);
        either.targets.push(program.length);
      }
    };
  }

  #repetition(): { least: number; most: number } | undefined {
    if (this.#take("*")) return { least: 0, most: Infinity };
    if (this.#take("+")) return { least: 1, most: Infinity };
    if (this.#take("?")) return { least: 0, most: 1 };
    const rest = this.#characters.slice(this.#at, this.#at + 12).join("");
    const [whole, least = "", comma, most = ""] = /^\{(\d+)(,?)(\d*)\}/.exec(rest) ?? [];
    if (whole === undefined) return undefined;
    this.#at += whole.length;
    const bounds = { least: Number(least), most: comma ? (most === "" ? Infinity : Number(most)) : Number(least) };
    if (bounds.least > maxRepetitions || (bounds.most !== Infinity && bounds.most > maxRepetitions)) {
      throw this.#wrong(`it repeats something over ${maxRepetitions} times`);
    }
    return bounds;
  }

  #atom(): Piece {
    const character = this.#next();
    if (character === "(") {
      if (this.#take("?") && !this.#take(":")) throw this.#wrong("groups are plain, or begin with ?:");
      const inner = this.#alternatives();
      if (!this.#take(")")) throw this.#wrong("a parenthesis is not closed");
      return inner;
    }
    if (character === "[") return one(this.#class());
    if (character === ".") return one((other) => other !== "\n");
    if (character === "^") return edge((before) => before === undefined);
    if (character === "$") return edge((_, after) => after === undefined);
    if (character === "\\") return this.#escaped();
    if ("*+?".includes(character)) throw this.#wrong("a repetition has nothing to repeat");
    return one((other) => other === character);
  }

  #escaped(): Piece {
    const character = this.#next();
    const known = classes[character];
    if (known) return one(known);
    if (character === "b") return edge((before, after) => isWord(before) !== isWord(after));
    if (character === "B") return edge((before, after) => isWord(before) === isWord(after));
    if (character === "A") return edge((before) => before === undefined);
    if (character === "z") return edge((_, after) => after === undefined);
    const meant = controls[character] ?? character;
    if (meant === character && /[a-zA-Z0-9]/.test(character)) throw this.#wrong(`\\${character} means nothing`);
    return one((other) => other === meant);
  }

  #class(): (character: string) => boolean {
    const isOpposite = this.#take("^");
    const members: ((character: string) => boolean)[] = [];
    for (let isFirst = true; isFirst || this.#peek() !== "]"; isFirst = false) {
      const from = this.#member();
      if (typeof from === "function") {
        members.push(from);
        continue;
      }
      const isRange = this.#peek() === "-" && this.#characters[this.#at + 1] !== "]";
      if (!isRange) {
        members.push((character) => character === from);
        continue;
      }
      this.#at++;
      const to = this.#member();
      if (typeof to === "function" || to < from) throw this.#wrong("a range in brackets has no order");
      members.push((character) => character >= from && character <= to);
    }
    this.#at++;
    return (character) => members.some((fits) => fits(character)) !== isOpposite;
  }

  /** A character of a class, or a class within it. */
  #member(): string | ((character: string) => boolean) {
    const character = this.#next();
    if (character !== "\\") return character;
    const escaped = this.#next();
    return classes[escaped] ?? controls[escaped] ?? escaped;
  }

  #peek(): string | undefined {
    return this.#characters[this.#at];
  }

  #take(wanted: string): boolean {
    if (this.#peek() !== wanted) return false;
    this.#at++;
    return true;
  }

  #next(): string {
    const character = this.#characters[this.#at++];
    if (character === undefined) throw this.#wrong("it ends too early");
    return character;
  }

  #wrong(why: string): EngineError {
    return new EngineError("invalidArgument", `"${this.pattern}" is no regular expression that is known here: ${why}`);
  }
}

function one(fits: (character: string) => boolean): Piece {
  return (program) => void program.push({ kind: "character", fits });
}

function edge(fits: (before: string | undefined, after: string | undefined) => boolean): Piece {
  return (program) => void program.push({ kind: "edge", fits });
}

function eitherOf(choices: readonly Piece[]): Piece {
  return (program) => {
    const start = { kind: "either" as const, targets: [] as number[] };
    program.push(start);
    const ends = choices.map((choice) => {
      start.targets.push(program.length);
      add(program, choice);
      const end = { kind: "either" as const, targets: [] as number[] };
      program.push(end);
      return end;
    });
    for (const end of ends) end.targets.push(program.length);
  };
}

/** Any number of times, none too. */
function many(program: Step[], piece: Piece): void {
  const start = program.length;
  const either = { kind: "either" as const, targets: [start + 1] };
  program.push(either);
  add(program, piece);
  program.push({ kind: "either", targets: [start] });
  either.targets.push(program.length);
}

function add(program: Step[], piece: Piece): void {
  piece(program);
  if (program.length <= maxSteps) return;
  throw new EngineError(
    "invalidArgument",
    `The pattern has over ${maxSteps} steps once its repetitions are counted out`,
  );
}
