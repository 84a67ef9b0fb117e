const nanoseconds: Readonly<Record<string, number>> = {
  ns: 1,
  us: 1e3,
  µs: 1e3,
  μs: 1e3,
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9,
};

/** Nanoseconds of a Go duration such as `1m30s` or `-1.5h`; throws an Error with Go's words. */
export function parseDuration(text: string): number {
  const match = /^([+-]?)((?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+$/.exec(text);
  if (/^[+-]?0$/.test(text)) return 0;
  if (!match) {
    const missing = /^[+-]?(\d+\.?\d*|\.\d+)$/.test(text) ? "missing unit in duration" : "invalid duration";
    throw new Error(`time: ${missing} "${text}"`);
  }
  let total = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)/g)) {
    total += Number(amount) * (nanoseconds[unit ?? ""] ?? 0);
  }
  return Math.trunc(match[1] === "-" ? -total : total);
}

/** Go's `Duration.String()`: `1m30s`, `500ms`, `0s`. */
export function formatDurationGo(durationNs: number): string {
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
