import { resolve } from "node:path";
import { UsageError } from "../usage-error.ts";

export interface Volumes {
  /** `source:target[:options]`, relative host paths made absolute */
  readonly binds: string[];
  /** targets without a source: anonymous volumes */
  readonly anonymous: Record<string, Record<string, never>>;
}

/** `-v` flags: `/target`, `name:/target[:ro]`, `/host:/target[:options]`, `./here:/target`. The engine judges the options. */
export function parseVolumes(flags: readonly string[]): Volumes {
  const volumes: Volumes = { binds: [], anonymous: {} };
  for (const text of flags) {
    if (text === "") throw new UsageError("invalid volume specification: empty");
    if (!text.includes(":")) {
      volumes.anonymous[text] = {};
      continue;
    }
    const [source = "", ...rest] = text.split(":");
    if (rest.length > 2) throw new UsageError(`invalid spec: ${text}: too many colons`);
    if (source === "" || rest[0] === "") throw new UsageError(`invalid volume specification: '${text}'`);
    const absolute = source.startsWith(".") ? resolve(source) : source;
    volumes.binds.push([absolute, ...rest].join(":"));
  }
  return volumes;
}
