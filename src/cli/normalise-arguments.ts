import type { Flag } from "./command.ts";
import { suggestFlag } from "./suggest.ts";
import { UsageError } from "./usage-error.ts";

/**
 * Rewrites arguments from pflag's grammar to a form that any parser reads alike: every flag becomes `--name=value` with its
 * long name, `--` separates the rest. It knows `-it`, `-p=80:80`, `-p80:80`, `--rm=false`, `-e KEY`, and stops at the first
 * argument where the command is not interspersed. Throws UsageError in pflag's words.
 */
export function normaliseArguments(
  argv: readonly string[],
  flags: readonly Flag[],
  options: { interspersed: boolean },
): string[] {
  const words = new Words(argv, flags);
  const result: string[] = [];
  const rest: string[] = [];
  for (let word; (word = words.next()) !== undefined;) {
    if (word === "--") {
      rest.push(...words.remaining());
    } else if (word.startsWith("--")) {
      result.push(words.long(word));
    } else if (word.startsWith("-") && word !== "-") {
      result.push(...words.shorts(word));
    } else {
      rest.push(word);
      if (!options.interspersed) rest.push(...words.remaining());
    }
  }
  return [...result, "--", ...rest];
}

class Words {
  readonly #argv: readonly string[];
  readonly #byName = new Map<string, Flag>();
  readonly #byShort = new Map<string, Flag>();
  #position = 0;

  constructor(argv: readonly string[], flags: readonly Flag[]) {
    this.#argv = argv;
    for (const flag of flags) {
      this.#byName.set(flag.name, flag);
      if (flag.alias) this.#byName.set(flag.alias, flag);
      if (flag.short) this.#byShort.set(flag.short, flag);
    }
  }

  next(): string | undefined {
    return this.#argv[this.#position++];
  }

  remaining(): readonly string[] {
    const rest = this.#argv.slice(this.#position);
    this.#position = this.#argv.length;
    return rest;
  }

  long(word: string): string {
    const equals = word.indexOf("=");
    const name = word.slice(2, equals < 0 ? undefined : equals);
    if (name === "" || name.startsWith("-")) throw new UsageError(`bad flag syntax: ${word}`, 125);
    if (name === "help") return "--help=true";
    const flag = this.#byName.get(name);
    if (!flag) throw new UsageError(`unknown flag: --${name}${suggestFlag(name, [...this.#byName.keys()])}`, 125);
    if (equals >= 0) return written(flag, word.slice(equals + 1));
    if (flag.kind === "bool") return written(flag, "true");
    const value = this.next();
    if (value === undefined) throw new UsageError(`flag needs an argument: --${name}`, 125);
    return written(flag, value);
  }

  shorts(word: string): string[] {
    const result: string[] = [];
    for (let letters = word.slice(1); letters !== "";) {
      const letter = letters[0] ?? "";
      const flag = this.#byShort.get(letter);
      if (!flag) throw new UsageError(`unknown shorthand flag: '${letter}' in -${letters}`, 125);
      const after = letters.slice(1);
      if (after.startsWith("=")) return [...result, written(flag, after.slice(1))];
      if (flag.kind === "bool") {
        result.push(written(flag, "true"));
        letters = after;
        continue;
      }
      const value = after !== "" ? after : this.next();
      if (value === undefined) throw new UsageError(`flag needs an argument: '${letter}' in -${letters}`, 125);
      return [...result, written(flag, value)];
    }
    return result;
  }
}

function written(flag: Flag, value: string): string {
  return `--${flag.name}=${value}`;
}
