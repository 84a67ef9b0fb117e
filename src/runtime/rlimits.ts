import { EngineError } from "../common/index.ts";
import type { OciRlimit, Ulimit } from "../spec/index.ts";

/** 2⁶⁴: stands for RLIM_INFINITY (2⁶⁴−1), which a JavaScript number cannot hold. `encodeOciSpec` writes it right. */
export const unlimited = 2 ** 64;

const names = new Set([
  "as",
  "core",
  "cpu",
  "data",
  "fsize",
  "locks",
  "memlock",
  "msgqueue",
  "nice",
  "nofile",
  "nproc",
  "rss",
  "rtprio",
  "rttime",
  "sigpending",
  "stack",
]);

/** `--ulimit` as the OCI spec has it; -1 is unlimited. Throws invalidArgument for an unknown name or a soft limit above the hard one. */
export function resolveRlimits(ulimits: readonly Ulimit[]): OciRlimit[] {
  return ulimits.map(({ Name, Soft, Hard }) => {
    const name = Name.toLowerCase();
    if (!names.has(name)) throw new EngineError("invalidArgument", `invalid ulimit type: ${Name}`);
    const soft = limitOf(Name, Soft);
    const hard = limitOf(Name, Hard);
    if (soft > hard) {
      throw new EngineError(
        "invalidArgument",
        `ulimit soft limit must be less than or equal to hard limit: ${Soft} > ${Hard}`,
      );
    }
    return { type: `RLIMIT_${name.toUpperCase()}`, soft, hard };
  });
}

function limitOf(name: string, value: number): number {
  if (value === -1) return unlimited;
  if (Number.isSafeInteger(value) && value >= 0) return value;
  throw new EngineError("invalidArgument", `ulimit ${name} has the value "${value}", which is no limit`);
}
