import { parseGoDuration } from "../../common/index.ts";
import type { HealthConfig } from "../../spec/index.ts";
import type { FlagValues } from "../flag-values.ts";
import { UsageError } from "../usage-error.ts";

/** The `--health-*` flags; undefined when none is given, `["NONE"]` with `--no-healthcheck`. */
export function toHealthcheck(flags: FlagValues): HealthConfig | undefined {
  const duration = (name: string): number => parseGoDuration(flags.string(name) || "0s") ?? 0;
  const command = flags.string("health-cmd");
  const settings = {
    Interval: duration("health-interval"),
    Timeout: duration("health-timeout"),
    StartPeriod: duration("health-start-period"),
    StartInterval: duration("health-start-interval"),
    Retries: flags.number("health-retries"),
  };
  const given = command !== "" || Object.values(settings).some((value) => value !== 0);
  if (flags.bool("no-healthcheck")) {
    if (given) throw new UsageError("--no-healthcheck conflicts with --health-* options");
    return { Test: ["NONE"] };
  }
  if (!given) return undefined;
  const names = { Interval: "interval", Timeout: "timeout", Retries: "retries" } as const;
  for (const [key, name] of Object.entries({
    ...names,
    StartPeriod: "start-period",
    StartInterval: "start-interval",
  })) {
    if (settings[key as keyof typeof settings] < 0) throw new UsageError(`--health-${name} cannot be negative`);
  }
  const used = Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== 0));
  return { ...(command === "" ? {} : { Test: ["CMD-SHELL", command] }), ...used };
}
