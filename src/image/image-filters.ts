import { EngineError } from "../common/index.ts";
import { familiarName, familiarString, parseReference } from "../spec/index.ts";
import { matchGlob } from "./glob.ts";
import type { Filters, ImageRecord } from "./image-record.ts";

/** Throws invalidArgument, in Docker's words, for a filter that is not one of `known`. */
export function checkFilters(filters: Filters, known: readonly string[]): void {
  for (const name of filters.keys()) {
    if (!known.includes(name)) throw new EngineError("invalidArgument", `invalid filter '${name}'`);
  }
}

/** A filter that is true or false; undefined when it is not given. Go's spellings. */
export function booleanFilter(filters: Filters, name: string): boolean | undefined {
  const values = filters.get(name) ?? [];
  if (values.length === 0) return undefined;
  const isTrue = values.some((value) => ["1", "true", "t", "T", "TRUE", "True"].includes(value));
  const isFalse = values.some((value) => ["0", "false", "f", "F", "FALSE", "False"].includes(value));
  if (isTrue === isFalse) {
    throw new EngineError("invalidArgument", `invalid filter '${name}=[${values.join(" ")}]'`);
  }
  return isTrue;
}

/** `label=key`, `label=key=value`: all must hold. `label!`: none may. */
export function matchesLabels(image: ImageRecord, filters: Filters): boolean {
  const labels = image.config.config?.Labels ?? {};
  const holds = (wanted: string): boolean => {
    const equals = wanted.indexOf("=");
    if (equals === -1) return Object.hasOwn(labels, wanted);
    const key = wanted.slice(0, equals);
    return Object.hasOwn(labels, key) && labels[key] === wanted.slice(equals + 1);
  };
  const wanted = filters.get("label") ?? [];
  const unwanted = filters.get("label!") ?? [];
  return wanted.every(holds) && !unwanted.some(holds);
}

/** Whether any pattern matches the reference as people write it, with or without its tag. */
export function matchesReference(patterns: readonly string[], text: string): boolean {
  const reference = parseReference(text);
  const forms = [familiarString(reference), familiarName(reference)];
  return patterns.some((pattern) => forms.some((form) => matchGlob(pattern, form)));
}

/** `until`: RFC 3339, Unix seconds, or a Go duration before now. Milliseconds; undefined when not given. */
export function untilMs(filters: Filters): number | undefined {
  const values = filters.get("until") ?? [];
  if (values.length > 1) throw new EngineError("invalidArgument", "more than one until filter specified");
  const [text] = values;
  if (text === undefined) return undefined;
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1000;
  const duration = goDurationMs(text);
  if (duration !== undefined) return Date.now() - duration;
  const time = Date.parse(text);
  if (Number.isNaN(time)) throw new EngineError("invalidArgument", `invalid filter 'until=${text}': it is no time`);
  return time;
}

function goDurationMs(text: string): number | undefined {
  if (!/^(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+$/.test(text)) return undefined;
  const units: Record<string, number> = { ns: 1e-6, us: 1e-3, µs: 1e-3, ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
  let total = 0;
  for (const [, value, , unit = ""] of text.matchAll(/(\d+(\.\d+)?)(ns|us|µs|ms|s|m|h)/g)) {
    total += Number(value) * (units[unit] ?? 0);
  }
  return total;
}
