import type { Volume } from "../../spec/index.ts";
import { formatSize } from "../../common/index.ts";
import type { Command } from "../command.ts";
import { filterFlag, formatFlag } from "../common-flags.ts";
import { joinLabels } from "../display.ts";
import { encodeFilters } from "../filters.ts";
import { goType, type GoObject } from "../go-template/index.ts";
import { printListing } from "../listing.ts";

export const command: Command = {
  usage: "ls [OPTIONS]",
  description: "List volumes",
  aliases: ["volume ls", "volume list"],
  flags: [
    filterFlag("dangling=true"),
    formatFlag,
    { name: "quiet", short: "q", kind: "bool", description: "Only display volume names" },
  ],
  arguments: { min: 0, max: 0 },
  async run({ flags, client }) {
    const engine = await client();
    const query = { filters: encodeFilters(flags.list("filter")) };
    const { Volumes } = await engine.get<{ Volumes: Volume[] | null }>("/volumes", query);
    const sorted = (Volumes ?? []).sort((left, right) => (left.Name < right.Name ? -1 : 1));
    await printListing({
      format: flags.string("format"),
      table: String.raw`{{.Driver}}\t{{.Name}}`,
      headers: volumeHeaders,
      rows: sorted.map(volumeRow),
      quiet: flags.bool("quiet") ? "{{.Name}}" : undefined,
    });
    return 0;
  },
};

export const volumeHeaders = {
  Name: "VOLUME NAME",
  Driver: "DRIVER",
  Scope: "SCOPE",
  Mountpoint: "MOUNTPOINT",
  Labels: "LABELS",
  Links: "LINKS",
  Size: "SIZE",
  Group: "GROUP",
  Availability: "AVAILABILITY",
  Status: "STATUS",
};

export function volumeRow(volume: Volume): GoObject {
  const usage = volume.UsageData;
  return {
    [goType]: "*formatter.volumeContext",
    Name: volume.Name,
    Driver: volume.Driver,
    Scope: volume.Scope,
    Mountpoint: volume.Mountpoint,
    Labels: joinLabels(volume.Labels),
    Label: (name: unknown) => volume.Labels?.[String(name)] ?? "",
    Links: usage ? String(usage.RefCount) : "N/A",
    Size: usage ? formatSize(usage.Size) : "N/A",
    Group: "N/A",
    Availability: "N/A",
    Status: "N/A",
  };
}
