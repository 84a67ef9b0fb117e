import { parseGoDuration } from "../common/index.ts";
import type { HealthConfig } from "../spec/index.ts";
import { invalid, jsonForm } from "./change-words.ts";

const durations: Record<string, "Interval" | "Timeout" | "StartPeriod" | "StartInterval"> = {
  interval: "Interval",
  timeout: "Timeout",
  "start-period": "StartPeriod",
  "start-interval": "StartInterval",
};

/** `NONE`, or `[--interval=30s …] CMD command`. Durations in the config are nanoseconds. */
export function parseHealthcheck(text: string, shellForm: (command: string) => string[]): HealthConfig {
  const flags = /^(?:--[a-z-]+=\S+\s+)*/.exec(text)?.[0] ?? "";
  const rest = text.slice(flags.length);
  const [, type = "", command = ""] = /^(\S+)\s*([\s\S]*)$/.exec(rest) ?? [];
  if (type.toUpperCase() === "NONE") {
    if (command !== "") throw invalid("HEALTHCHECK NONE takes no arguments");
    return { Test: ["NONE"] };
  }
  if (type.toUpperCase() !== "CMD") throw invalid(`Unknown type "${type}" in HEALTHCHECK (try CMD)`);
  if (command === "") throw invalid("Missing command after HEALTHCHECK CMD");
  const list = jsonForm(command);
  const health: HealthConfig = { Test: list ? ["CMD", ...list] : ["CMD-SHELL", shellForm(command).at(-1) ?? command] };
  for (const [, name = "", value = ""] of flags.matchAll(/--([a-z-]+)=(\S+)/g)) setFlag(health, { name, value });
  return health;
}

function setFlag(health: HealthConfig, { name, value }: { name: string; value: string }): void {
  const member = Object.hasOwn(durations, name) ? durations[name] : undefined;
  if (member) {
    health[member] = parseDuration(name, value);
  } else if (name === "retries") {
    if (!/^\d+$/.test(value)) throw invalid(`--retries must be at least 0, not "${value}"`);
    health.Retries = Number(value);
  } else {
    throw invalid(`Unknown flag: ${name}`);
  }
}

/** Go's form (`1m30s`); Docker takes nothing between 0 and a millisecond. */
function parseDuration(name: string, text: string): number {
  const durationNs = parseGoDuration(text);
  if (durationNs === undefined) throw invalid(`The duration "${text}" of --${name} is not valid`);
  if (durationNs !== 0 && durationNs < 1e6) throw invalid(`Interval "${name}" cannot be less than 1ms`);
  return durationNs;
}
