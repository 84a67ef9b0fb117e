/** An object whose absent fields are errors that name this Go type, as methods of docker's formatter contexts are. */
export const goType: unique symbol = Symbol("goType");

export type GoObject = { readonly [goType]?: string } & Readonly<Record<string, unknown>>;

export function isObject(value: unknown): value is GoObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Go's nil list and nil map: they print as empty ones, and are null in JSON. */
export const nilList: readonly never[] = Object.freeze([]);
export const nilMap: Readonly<Record<string, never>> = Object.freeze({});

/** Go's text/template truth: false, 0, "", nil and empty lists and maps are not. */
export function isTrue(value: unknown): boolean {
  if (Array.isArray(value)) return value.length > 0;
  if (isObject(value)) return value[goType] !== undefined || Object.keys(value).length > 0;
  return Boolean(value);
}

/** The keys of an object in Go's order for maps. */
export function sortedKeys(value: GoObject): string[] {
  return Object.keys(value).sort();
}

/** What fmt's `%v` prints: null is a nil pointer, undefined a missing key; `nested` is inside of a list or map. */
export function printValue(value: unknown, nested = false): string {
  if (value === undefined) return nested ? "<nil>" : "<no value>";
  if (value === null) return "<nil>";
  if (typeof value === "number") return printNumber(value);
  if (Array.isArray(value)) return `[${value.map((item) => printValue(item, true)).join(" ")}]`;
  if (isObject(value)) {
    const entries = sortedKeys(value).map((key) => `${key}:${printValue(value[key], true)}`);
    return `map[${entries.join(" ")}]`;
  }
  return String(value);
}

function printNumber(value: number): string {
  if (Number.isInteger(value) && Math.abs(value) < 1e21) return value.toFixed(0);
  return String(value).replace(/e([+-])(\d)$/, "e$10$2");
}

/** The name of a value's type in Go's errors. */
export function typeName(value: unknown): string {
  if (value === null || value === undefined) return "nil";
  if (typeof value === "string") return "string";
  if (typeof value === "boolean") return "bool";
  if (typeof value === "number") return Number.isInteger(value) ? "int" : "float64";
  if (Array.isArray(value)) return "[]interface {}";
  return isObject(value) ? (value[goType] ?? "map[string]interface {}") : "interface {}";
}

/** JSON as Go's encoder writes it without HTML escapes; maps and formatter contexts have sorted keys. */
export function toJson(value: unknown, indent?: string): string {
  const text = JSON.stringify(sortContexts(value), undefined, indent) ?? "null";
  if (!isObject(value) || value[goType] === undefined) return text;
  // A formatter context encodes itself, with the HTML escapes that are Go's default.
  return text.replace(/[<>&\u2028\u2029]/g, (character) => {
    return `\\u${(character.codePointAt(0) ?? 0).toString(16).padStart(4, "0")}`;
  });
}

function sortContexts(value: unknown): unknown {
  if (value === nilList || value === nilMap) return null;
  if (!isObject(value) || value[goType] === undefined) return value;
  const fields = sortedKeys(value).filter((key) => typeof value[key] !== "function");
  return Object.fromEntries(fields.map((key) => [key, value[key]]));
}
