import { formatSize } from "../../common/index.ts";
import type { Command } from "../command.ts";
import { ago } from "../display.ts";
import { encodeFilters } from "../filters.ts";
import { goType, type GoObject } from "../go-template/index.ts";
import { renderListing } from "../listing.ts";
import { print } from "../output.ts";
import type { CacheUsage } from "../../spec/index.ts";

export const command: Command = {
  usage: "du [OPTIONS]",
  description: "Disk usage of the build cache",
  flags: [
    { name: "filter", kind: "filter", description: 'Provide filter values (e.g. "type=regular")' },
    { name: "verbose", kind: "bool", description: "Provide a more verbose output" },
  ],
  arguments: { min: 0, max: 0 },
  async run({ flags, client }) {
    const engine = await client();
    const query = { filters: encodeFilters(flags.list("filter")) };
    const { BuildCache } = await engine.get<{ BuildCache: readonly CacheUsage[] }>("/vitrine/build-cache", query);
    print(flags.bool("verbose") ? BuildCache.map(verboseText).join("\n\n") : await table(BuildCache));
    const size = (list: readonly CacheUsage[]): number => list.reduce((sum, one) => sum + one.Size, 0);
    const shared = size(BuildCache.filter((one) => one.Shared));
    const free = size(BuildCache.filter((one) => !one.InUse && !one.Shared));
    const sums = [["Shared:", shared] as const, ["Private:", size(BuildCache) - shared] as const];
    const lines = [...(shared > 0 ? sums : []), ["Reclaimable:", free] as const, ["Total:", size(BuildCache)] as const];
    print(lines.map(([name, bytes]) => `${name}\t${formatSize(bytes)}\n`).join(""));
    return 0;
  },
};

function table(usage: readonly CacheUsage[]): Promise<string> {
  const headers = { ID: "ID", Reclaimable: "RECLAIMABLE", Size: "SIZE", LastAccessed: "LAST ACCESSED" };
  const rows = usage.map((one): GoObject => ({
    [goType]: "*formatter.buildCacheContext",
    // As buildx marks what changes, and what images share.
    ID: one.ID + (one.Type === "exec.cachemount" ? "*" : ""),
    Reclaimable: String(!one.InUse),
    Size: formatSize(one.Size) + (one.Shared ? "*" : ""),
    LastAccessed: ago(Date.parse(one.LastUsedAt)),
  }));
  const columns = Object.keys(headers).map((name) => `{{.${name}}}`);
  return renderListing({ format: "", table: columns.join(String.raw`\t`), headers, rows });
}

function verboseText(one: CacheUsage): string {
  const pairs: readonly (readonly [string, string])[] = [
    ["ID", one.ID],
    ["Created at", one.CreatedAt],
    ["Mutable", String(one.Type === "exec.cachemount")],
    ["Reclaimable", String(!one.InUse)],
    ["Shared", String(one.Shared)],
    ["Size", formatSize(one.Size)],
    ["Description", one.Description],
    ["Usage count", String(one.UsageCount)],
    ["Last used", ago(Date.parse(one.LastUsedAt))],
    ["Type", one.Type],
  ];
  return `${pairs.map(([name, value]) => `${name}:\t${value}`).join("\n")}\n`;
}
