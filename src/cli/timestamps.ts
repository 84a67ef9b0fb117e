import { parseGoDuration } from "../common/index.ts";
import { CommandFailure } from "./usage-error.ts";

/**
 * `--since` and `--until` as the API's Unix seconds with nanoseconds: a date (`2013-01-02`, with time, fraction and zone
 * optional; the local zone when none), Unix seconds, or a Go duration before now. Undefined for "". Throws CommandFailure.
 */
export function toTimestamp(text: string, name: string): string | undefined {
  if (text === "") return undefined;
  const duration = parseGoDuration(text);
  if (duration !== undefined) return seconds(BigInt(Date.now()) * 1_000_000n - BigInt(duration));
  if (/^\d+(\.\d+)?$/.test(text)) return text;
  const date = /^(\d{4}-\d{2}-\d{2})(?:T(\d{2}(?::\d{2}(?::\d{2})?)?)(\.\d{1,9})?)?(Z|[+-]\d{2}:\d{2})?$/.exec(text);
  const [, day = "", written = "00", fraction = "", zone = ""] = date ?? [];
  const time = `${written}:00:00`.slice(0, 8);
  const milliseconds = date ? Date.parse(`${day}T${time}${zone}`) : Number.NaN;
  if (Number.isNaN(milliseconds)) {
    throw new CommandFailure(
      `invalid value for "${name}": failed to parse value as time or duration: ${JSON.stringify(text)}`,
    );
  }
  return seconds(BigInt(milliseconds) * 1_000_000n + BigInt(fraction.slice(1).padEnd(9, "0") || 0));
}

function seconds(nanoseconds: bigint): string {
  return `${nanoseconds / 1_000_000_000n}.${String(nanoseconds % 1_000_000_000n).padStart(9, "0")}`;
}
