/** The parsed flags of a call. Asking for a flag that the command does not declare is a programmer's error and throws. */
export class FlagValues {
  readonly #values: ReadonlyMap<string, readonly string[]>;
  readonly #defaults: ReadonlyMap<string, string>;

  constructor(values: ReadonlyMap<string, readonly string[]>, defaults: ReadonlyMap<string, string>) {
    this.#values = values;
    this.#defaults = defaults;
  }

  /** Whether it was given at all. */
  changed(name: string): boolean {
    return this.#values.has(name);
  }

  /** The last value given, else the default, else "". */
  string(name: string): string {
    return this.optional(name) ?? this.#default(name);
  }

  /** The last value given; undefined when absent. */
  optional(name: string): string | undefined {
    this.#default(name);
    return this.#values.get(name)?.at(-1);
  }

  bool(name: string): boolean {
    return parseBool(this.string(name)) ?? false;
  }

  /** All values given, in order. */
  list(name: string): readonly string[] {
    this.#default(name);
    return this.#values.get(name) ?? [];
  }

  number(name: string): number {
    return parseInteger(this.string(name)) ?? 0;
  }

  #default(name: string): string {
    const value = this.#defaults.get(name);
    if (value === undefined) throw new Error(`flag --${name} is not declared`);
    return value;
  }
}

/** Go's strconv.ParseBool; undefined for anything else. */
export function parseBool(text: string): boolean | undefined {
  if (/^(1|t|T|true|TRUE|True)$/.test(text)) return true;
  if (/^(0|f|F|false|FALSE|False)$/.test(text)) return false;
  return undefined;
}

/** Go's strconv.ParseInt with base 0, within 53 bits; undefined for anything else. */
export function parseInteger(text: string): number | undefined {
  const match = /^([+-]?)(0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|0|[1-9][0-9]*)$/.exec(text);
  if (!match) return undefined;
  const digits = (match[2] ?? "").replace(/^0(?=[0-7]+$)/, "0o").toLowerCase();
  const value = Number(digits) * (match[1] === "-" ? -1 : 1);
  return Number.isSafeInteger(value) ? value : undefined;
}
