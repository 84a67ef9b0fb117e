const unitNanoseconds: Readonly<Record<string, number>> = {
  ns: 1,
  us: 1e3,
  µs: 1e3,
  μs: 1e3,
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9,
};

/** Nanoseconds of a Go duration such as `1h15m30.9s` or `-1.5h` (Go's time.ParseDuration); undefined for anything else. */
export function parseGoDuration(text: string): number | undefined {
  if (/^[+-]?0$/.test(text)) return 0;
  if (!/^[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+$/.test(text)) return undefined;
  let total = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)/g)) {
    // Go drops parts of a nanosecond; what a binary fraction is short of one is none.
    total += Math.trunc(Number((Number(amount) * (unitNanoseconds[unit ?? ""] ?? 0)).toFixed(3)));
  }
  return text.startsWith("-") ? -total : total;
}

/** Why a text is no duration, in Go's words. */
export function goDurationProblem(text: string): string {
  const quoted = JSON.stringify(text);
  if (/^[+-]?(\d+\.?\d*|\.\d+)$/.test(text)) return `time: missing unit in duration ${quoted}`;
  const unit = /^[+-]?(?:\d+\.?\d*|\.\d+)([^\d.]+)/.exec(text)?.[1];
  if (unit !== undefined && !Object.hasOwn(unitNanoseconds, unit))
    return `time: unknown unit ${JSON.stringify(unit)} in duration ${quoted}`;
  return `time: invalid duration ${quoted}`;
}

/** Go's `Duration.String()`: `1m30s`, `500ms`, `0s`. */
export function formatGoDuration(durationNs: number): string {
  if (durationNs === 0) return "0s";
  const absolute = Math.abs(durationNs);
  const sign = durationNs < 0 ? "-" : "";
  if (absolute < 1e3) return `${sign}${absolute}ns`;
  if (absolute < 1e6) return `${sign}${absolute / 1e3}µs`;
  if (absolute < 1e9) return `${sign}${absolute / 1e6}ms`;
  const hours = Math.floor(absolute / 3600e9);
  const minutes = Math.floor((absolute % 3600e9) / 60e9);
  const seconds = Number(((absolute % 60e9) / 1e9).toFixed(9));
  if (hours > 0) return `${sign}${hours}h${minutes}m${seconds}s`;
  return minutes > 0 ? `${sign}${minutes}m${seconds}s` : `${sign}${seconds}s`;
}
