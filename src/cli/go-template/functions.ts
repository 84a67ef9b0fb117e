// text/template's own functions, and those that docker adds.
import { goType, isObject, isTrue, printValue, sortedKeys, toJson, typeName } from "./go-values.ts";
import { formatPrintf } from "./printf.ts";

export type TemplateFunction = (...args: readonly unknown[]) => unknown;

/** `and` and `or` evaluate lazily: the evaluator knows them; their names stand here so that the parser does too. */
export const lazyFunctions: ReadonlySet<string> = new Set(["and", "or"]);

export const templateFunctions: Readonly<Record<string, TemplateFunction>> = {
  not: (value) => !isTrue(value),
  len: (value) => lengthOf(value),
  index: (value, ...keys) => keys.reduce(indexOf, value),
  slice: (value, from = 0, to) => sliceOf(value, { from, to }),
  print: (...values) => printAll(values),
  println: (...values) => `${values.map((value) => printValue(value, true)).join(" ")}\n`,
  printf: (format, ...values) => formatPrintf(text(format), values),
  html: (...values) => escapeHtml(printAll(values)),
  js: (...values) => escapeScript(printAll(values)),
  urlquery: (...values) => encodeURIComponent(printAll(values)).replaceAll("%20", "+"),
  eq: (first, ...others) => {
    if (others.length === 0) throw new Error("missing argument for comparison");
    return others.some((other) => isEqual(first, other));
  },
  ne: (first, second) => !isEqual(first, second),
  lt: (first, second) => order(first, second) < 0,
  le: (first, second) => order(first, second) <= 0,
  gt: (first, second) => order(first, second) > 0,
  ge: (first, second) => order(first, second) >= 0,
  json: (value) => toJson(value),
  split: (value, separator) => text(value).split(text(separator)),
  join: (list, separator) => joinAll(list, text(separator)),
  title: (value) =>
    text(value).replace(
      /(^|[^\p{L}\p{Nd}_'])(\p{L})/gu,
      (_, before: string, letter: string) => before + letter.toUpperCase(),
    ),
  lower: (value) => text(value).toLowerCase(),
  upper: (value) => text(value).toUpperCase(),
  pad: (value, before, after) =>
    value === "" ? "" : " ".repeat(Number(before)) + text(value) + " ".repeat(Number(after)),
  truncate: (value, length) => truncate(text(value), Number(length)),
};

/** The functions with which a table's header line is made: its words must stay as they are. */
export const headerFunctions: Readonly<Record<string, TemplateFunction>> = {
  ...templateFunctions,
  json: (value) => value,
  split: (value) => value,
  join: (value) => value,
  title: (value) => value,
  lower: (value) => value,
  upper: (value) => value,
  truncate: (value) => value,
};

function text(value: unknown): string {
  if (typeof value === "string") return value;
  if (value === null || value === undefined) throw new Error("invalid value; expected string");
  throw new Error(`wrong type for value; expected string; got ${typeName(value)}`);
}

function lengthOf(value: unknown): number {
  if (typeof value === "string") return Buffer.byteLength(value);
  if (Array.isArray(value)) return value.length;
  if (isObject(value)) return Object.keys(value).length;
  if (value === null || value === undefined) throw new Error("len of nil pointer");
  throw new Error(`len of type ${typeName(value)}`);
}

function indexOf(value: unknown, key: unknown): unknown {
  if (value === null || value === undefined) throw new Error("index of untyped nil");
  if (Array.isArray(value) || typeof value === "string") {
    if (typeof key !== "number") throw new Error(`cannot index slice/array with type ${typeName(key)}`);
    if (key < 0 || key >= value.length) throw new Error(`index out of range: ${key}`);
    return typeof value === "string" ? Buffer.from(value)[key] : value[key];
  }
  if (!isObject(value)) throw new Error(`can't index item of type ${typeName(value)}`);
  if (typeof key !== "string") throw new Error(`value has type ${typeName(key)}; should be string`);
  if (Object.hasOwn(value, key)) return value[key];
  // A map of strings gives an empty string for a key that it has not, as labels do.
  return Object.values(value).every((item) => typeof item === "string") ? "" : undefined;
}

function sliceOf(value: unknown, bounds: { from: unknown; to: unknown }): unknown {
  if (typeof value !== "string" && !Array.isArray(value))
    throw new Error(`can't slice item of type ${typeName(value)}`);
  const [from, to] = [Number(bounds.from), Number(bounds.to ?? value.length)];
  if (to > value.length) throw new Error(`index out of range: ${to}`);
  if (from < 0 || from > to) throw new Error(`invalid slice index: ${from} > ${to}`);
  return value.slice(from, to);
}

/** fmt.Sprint: a space between operands when neither is a string. */
function printAll(values: readonly unknown[]): string {
  return values
    .map((value, index) => {
      const spaced = index > 0 && typeof value !== "string" && typeof values[index - 1] !== "string";
      return (spaced ? " " : "") + printValue(value, true);
    })
    .join("");
}

function isEqual(first: unknown, second: unknown): boolean {
  if ((first ?? null) === null || (second ?? null) === null) return (first ?? null) === (second ?? null);
  if (typeof first !== typeof second) throw new Error("incompatible types for comparison");
  if (typeof first === "object") throw new Error(`non-comparable type ${printValue(first)}: ${typeName(first)}`);
  return first === second;
}

function order(first: unknown, second: unknown): number {
  if (typeof first !== typeof second) throw new Error("incompatible types for comparison");
  if (typeof first === "number") return first - (second as number);
  if (typeof first === "string") return Buffer.compare(Buffer.from(first), Buffer.from(second as string));
  throw new Error("invalid type for comparison");
}

function joinAll(list: unknown, separator: string): string {
  if (list === null || list === undefined) return "";
  if (Array.isArray(list)) return list.map((item) => printValue(item, true)).join(separator);
  if (!isObject(list) || list[goType] !== undefined) throw new Error(`expected slice, got ${typeName(list)}`);
  return sortedKeys(list)
    .map((key) => printValue(list[key], true))
    .sort()
    .join(separator);
}

function truncate(value: string, length: number): string {
  const bytes = Buffer.from(value);
  return bytes.length < length ? value : bytes.subarray(0, length).toString();
}

function escapeHtml(value: string): string {
  const entities: Readonly<Record<string, string>> = {
    "<": "&lt;",
    ">": "&gt;",
    "&": "&amp;",
    "'": "&#39;",
    '"': "&#34;",
  };
  return value.replace(/[<>&'"]/g, (character) => entities[character] ?? character).replaceAll("\0", "\uFFFD");
}

function escapeScript(value: string): string {
  const escapes: Readonly<Record<string, string>> = { "\\": "\\\\", "'": "\\'", '"': '\\"' };
  return value.replace(/[\\'"<>&=\x00-\x1f]/g, (character) => {
    return escapes[character] ?? `\\u${character.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
  });
}
