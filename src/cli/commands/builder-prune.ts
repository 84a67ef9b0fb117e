import { formatSize } from "../../common/index.ts";
import type { Command } from "../command.ts";
import { forceFlag } from "../common-flags.ts";
import { confirmUnlessForced } from "../confirm.ts";
import { encodeFilters } from "../filters.ts";
import { print } from "../output.ts";

export const command: Command = {
  usage: "prune [OPTIONS]",
  description: "Remove build cache",
  flags: [
    { name: "all", short: "a", kind: "bool", description: "Remove all unused build cache, not just dangling ones" },
    { name: "filter", kind: "filter", description: 'Provide filter values (e.g. "until=24h")' },
    forceFlag,
    { name: "keep-storage", kind: "bytes", description: "Amount of disk space to keep for cache" },
    { name: "max-used-space", kind: "bytes", description: "Maximum amount of disk space allowed to keep for cache" },
  ],
  arguments: { min: 0, max: 0 },
  async run({ flags, client }) {
    const all = flags.bool("all");
    if (!(await confirmUnlessForced(flags, `This will remove all ${all ? "" : "dangling "}build cache.`))) return 0;
    const engine = await client();
    const { sizeOf } = await import("../container-request/resources.ts");
    const size = (name: string): string | undefined => (flags.changed(name) ? String(sizeOf(flags, name)) : undefined);
    const query = {
      all: all || undefined,
      filters: encodeFilters(flags.list("filter")),
      "keep-storage": size("keep-storage"),
      "max-used-space": size("max-used-space"),
    };
    const report = await engine.post<{ CachesDeleted?: string[] | null; SpaceReclaimed: number }>("/build/prune", {
      query,
    });
    const deleted = report.CachesDeleted ?? [];
    const list = deleted.length > 0 ? `Deleted build cache objects:\n${deleted.join("\n")}\n\n` : "";
    print(`${list}Total reclaimed space: ${formatSize(report.SpaceReclaimed)}\n`);
    return 0;
  },
};
