import { printValue, toJson, typeName } from "./go-values.ts";

/** Go's fmt.Sprintf for the verbs that make sense of JSON values: v s d q t f g e x X o b c T %. */
export function formatPrintf(format: string, values: readonly unknown[]): string {
  let next = 0;
  const result = format.replace(
    /%([-+# 0]*)(\d+|\*)?(?:\.(\d+))?([a-zA-Z%])/g,
    (_, flags: string, width: string | undefined, precision: string | undefined, verb: string) => {
      if (verb === "%") return "%";
      const columns = width === "*" ? Number(values[next++]) : Number(width ?? 0);
      if (next >= values.length) return `%!${verb}(MISSING)`;
      const value = values[next++];
      const digits = precision === undefined ? undefined : Number(precision);
      return pad(formatVerb(verb, value, { flags, digits }), { flags, columns });
    },
  );
  const extra = values.slice(next);
  if (extra.length === 0) return result;
  return `${result}%!(EXTRA ${extra.map((value) => `${typeName(value)}=${printValue(value, true)}`).join(", ")})`;
}

function formatVerb(verb: string, value: unknown, options: { flags: string; digits: number | undefined }): string {
  const { flags, digits } = options;
  if (verb === "T") return typeName(value);
  if (verb === "v" || verb === "s") {
    if (verb === "s" && (typeof value === "number" || typeof value === "boolean")) return mismatch(verb, value);
    const text = printValue(value, true);
    return digits === undefined ? text : [...text].slice(0, digits).join("");
  }
  if (verb === "q" && typeof value === "string") return toJson(value);
  if (verb === "t" && typeof value === "boolean") return String(value);
  if (/[xX]/.test(verb) && typeof value === "string") {
    const hex = Buffer.from(value).toString("hex");
    return verb === "X" ? hex.toUpperCase() : hex;
  }
  if (typeof value !== "number") return mismatch(verb, value);
  const text = formatNumber(verb, value, digits);
  if (text === undefined) return mismatch(verb, value);
  return flags.includes("+") && value >= 0 ? `+${text}` : text;
}

function formatNumber(verb: string, value: number, digits: number | undefined): string | undefined {
  switch (verb) {
    case "d":
      return Number.isInteger(value) ? value.toFixed(0) : undefined;
    case "f":
      return value.toFixed(digits ?? 6);
    case "e":
      return value.toExponential(digits ?? 6).replace(/e([+-])(\d)$/, "e$10$2");
    case "g":
      return String(digits === undefined ? value : Number(value.toPrecision(digits)));
    case "x":
      return value.toString(16);
    case "X":
      return value.toString(16).toUpperCase();
    case "o":
      return value.toString(8);
    case "b":
      return value.toString(2);
    case "c":
      return String.fromCodePoint(value);
    default:
      return undefined;
  }
}

function mismatch(verb: string, value: unknown): string {
  return value === null || value === undefined
    ? `%!${verb}(<nil>)`
    : `%!${verb}(${typeName(value)}=${printValue(value, true)})`;
}

function pad(text: string, options: { flags: string; columns: number }): string {
  if (options.flags.includes("-")) return text.padEnd(options.columns);
  if (options.flags.includes("0") && /^[+-]?[\d.]+$/.test(text)) {
    const sign = /^[+-]/.exec(text)?.[0] ?? "";
    return sign + text.slice(sign.length).padStart(options.columns - sign.length, "0");
  }
  return text.padStart(options.columns);
}
