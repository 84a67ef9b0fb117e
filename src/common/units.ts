import { EngineError } from "./errors.ts";

const decimalUnits = ["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"];
const binaryUnits = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"];

/** Bytes for people with decimal units and `digits` significant digits, as go-units' HumanSizeWithPrecision: `1.23MB`. */
export function formatSize(sizeBytes: number, digits = 4): string {
  return scale(sizeBytes, 1000, decimalUnits, digits);
}

/** Bytes for people with binary units, as go-units' BytesSize: `7.629MiB`. */
export function formatBinarySize(sizeBytes: number): string {
  return scale(sizeBytes, 1024, binaryUnits, 4);
}

function scale(value: number, base: number, units: readonly string[], digits: number): string {
  let unit = 0;
  while (value >= base && unit < units.length - 1) {
    value /= base;
    unit++;
  }
  return `${formatGeneral(value, digits)}${units[unit]}`;
}

/** C's and Go's `%.{digits}g`: what rounds to more than `digits` digits is written with an exponent, `1e+03`. */
function formatGeneral(value: number, digits: number): string {
  if (value === 0) return "0";
  const [mantissa = "", exponent = "0"] = value.toExponential(digits - 1).split("e");
  const power = Number(exponent);
  if (power >= -4 && power < digits) return String(Number(value.toPrecision(digits)));
  const sign = power < 0 ? "-" : "+";
  return `${Number(mantissa)}e${sign}${String(Math.abs(power)).padStart(2, "0")}`;
}

/** Parses `512`, `512b`, `500m`, `1.5GB`, `2gib` into bytes; units are powers of 1024, as go-units' RAMInBytes. */
export function parseSize(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s?([kmgtp]?)(?:i?b)?$/i.exec(text.trim());
  if (!match) throw new EngineError("invalidArgument", `invalid size: '${text}'`);
  const power = ["", "k", "m", "g", "t", "p"].indexOf((match[2] ?? "").toLowerCase());
  return Math.floor(Number(match[1]) * 1024 ** power);
}

/** A duration for people, as go-units' HumanDuration: `About an hour`, `3 days`. */
export function formatDuration(durationMs: number): string {
  const seconds = Math.floor(durationMs / 1000);
  if (seconds < 1) return "Less than a second";
  if (seconds === 1) return "1 second";
  if (seconds < 60) return `${seconds} seconds`;
  const minutes = Math.floor(seconds / 60);
  if (minutes === 1) return "About a minute";
  if (minutes < 60) return `${minutes} minutes`;
  const hours = Math.round(durationMs / 3_600_000);
  if (hours === 1) return "About an hour";
  if (hours < 48) return `${hours} hours`;
  if (hours < 24 * 7 * 2) return `${Math.floor(hours / 24)} days`;
  if (hours < 24 * 30 * 2) return `${Math.floor(hours / 24 / 7)} weeks`;
  if (hours < 24 * 365 * 2) return `${Math.floor(hours / 24 / 30)} months`;
  return `${Math.floor(durationMs / 3_600_000 / 24 / 365)} years`;
}
