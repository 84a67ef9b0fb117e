import { goDurationProblem, parseGoDuration, parseSize } from "../common/index.ts";
import type { Flag } from "./command.ts";
import { parseBool, parseInteger } from "./flag-values.ts";

/** Kinds whose flag may be given several times, each adding a value. */
export const repeatable: ReadonlySet<string> = new Set([
  "list",
  "strings",
  "map",
  "filter",
  "ulimit",
  "mount",
  "network",
]);

/** Why the text cannot be the flag's value, in Docker's words; undefined when it can. */
export function valueProblem(flag: Flag, text: string): string | undefined {
  try {
    flag.check?.(text);
  } catch (thrown) {
    return (thrown as Error).message;
  }
  switch (flag.kind) {
    case "bool":
      return parseBool(text) === undefined ? goParse("ParseBool", text) : undefined;
    case "int":
      return parseInteger(text) === undefined ? goParse("ParseInt", text) : undefined;
    case "uint16":
      return uint16Problem(text);
    case "bytes":
      return sizeProblem(flag, text);
    case "duration":
      return parseGoDuration(text) === undefined ? goDurationProblem(text) : undefined;
    case "decimal":
      return decimalProblem(text);
    case "filter":
      return text !== "" && !text.includes("=") ? "bad format of filter (expected name=value)" : undefined;
    default:
      return undefined;
  }
}

function uint16Problem(text: string): string | undefined {
  const value = parseInteger(text);
  if (value === undefined || value < 0) return goParse("ParseUint", text);
  return value > 65_535 ? `strconv.ParseUint: parsing ${JSON.stringify(text)}: value out of range` : undefined;
}

function decimalProblem(text: string): string | undefined {
  if (!/^[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?(\/\d+)?$/i.test(text)) {
    return `failed to parse ${text} as a rational number`;
  }
  const fraction = /\.(\d*)/.exec(text)?.[1] ?? "";
  return fraction.replace(/0+$/, "").length > 9 ? "value is too precise" : undefined;
}

function sizeProblem(flag: Flag, text: string): string | undefined {
  if (text === "-1" && flag.name === "memory-swap") return undefined;
  try {
    parseSize(text);
    return undefined;
  } catch {
    const suffix = /^\d+(?:\.\d+)?\s?(.+)$/.exec(text)?.[1];
    return suffix === undefined ? `invalid size: '${text}'` : `invalid suffix: '${suffix.toLowerCase()}'`;
  }
}

function goParse(call: string, text: string): string {
  return `strconv.${call}: parsing ${JSON.stringify(text)}: invalid syntax`;
}
