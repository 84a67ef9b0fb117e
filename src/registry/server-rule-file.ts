// Files of rules: JSON lists of objects. What cannot be used is refused with the file, the entry and the field.
import { readFileSync } from "node:fs";
import { EngineError, goDurationProblem, parseGoDuration } from "../common/index.ts";
import { isRepositoryPattern } from "./server-patterns.ts";

/** Entries of a JSON file that is a list of objects. Throws `invalidArgument`. */
export function readJsonList(path: string): Readonly<Record<string, unknown>>[] {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    throw new EngineError("invalidArgument", `Cannot read "${path}": ${(error as Error).message}`, { cause: error });
  }
  const isList = Array.isArray(value) && value.every((entry) => typeof entry === "object" && entry !== null);
  if (!isList) throw wrong(`"${path}" is no list of objects`);
  return value as Record<string, unknown>[];
}

export function requireKnown(
  entry: Readonly<Record<string, unknown>>,
  { known, where }: { known: readonly string[]; where: string },
): void {
  const other = Object.keys(entry).find((key) => !known.includes(key));
  if (other !== undefined) throw wrong(`"${other}" of ${where} is not known: ${known.join(", ")} are`);
}

/** `"72h"`, in milliseconds; undefined where the field is not there. */
export function readDuration(
  entry: Readonly<Record<string, unknown>>,
  { field, where }: { field: string; where: string },
): number | undefined {
  const value = entry[field];
  if (value === undefined) return undefined;
  const nanoseconds = typeof value === "string" ? parseGoDuration(value) : undefined;
  if (nanoseconds === undefined || nanoseconds <= 0) {
    const why = typeof value === "string" ? goDurationProblem(value) : "it is no text";
    throw wrong(`"${field}" of ${where} is no length of time such as "72h": ${why}`);
  }
  return nanoseconds / 1e6;
}

/** Repository patterns. */
export function readPatterns(value: unknown, place: { field: string; where: string }): string[] {
  const list = readTexts(value, place);
  const other = list.find((pattern) => !isRepositoryPattern(pattern));
  if (other === undefined) return list;
  throw wrong(`"${other}" in "${place.field}" of ${place.where} is no repository, nor "*" or "team/*"`);
}

export function readTexts(value: unknown, { field, where }: { field: string; where: string }): string[] {
  if (Array.isArray(value) && value.length > 0 && value.every((text) => typeof text === "string")) return value;
  throw wrong(`"${field}" of ${where} is no list of texts`);
}

export function wrong(message: string): EngineError {
  return new EngineError("invalidArgument", message);
}
