import { pathPart } from "../../api/client/index.ts";
import { formatSize, shortId } from "../../common/index.ts";
import type { ImageHistoryItem } from "../../spec/index.ts";
import type { Command, Invocation } from "../command.ts";
import { formatFlag, noTruncFlag } from "../common-flags.ts";
import { ago, ellipsis, rfc3339 } from "../display.ts";
import { goType, type GoObject } from "../go-template/index.ts";
import { printListing } from "../listing.ts";
import { platformFlag, platformQuery } from "../platform-flag.ts";

export const command: Command = {
  usage: "history [OPTIONS] IMAGE",
  description: "Show the history of an image",
  aliases: ["image history", "history"],
  flags: [
    formatFlag,
    {
      name: "human",
      short: "H",
      kind: "bool",
      default: true,
      description: "Print sizes and dates in human readable format",
    },
    noTruncFlag,
    platformFlag("Show history for the given platform"),
    { name: "quiet", short: "q", kind: "bool", description: "Only show image IDs" },
  ],
  arguments: { min: 1, max: 1 },
  run: showHistory,
};

const table = String.raw`{{.ID}}\t{{if .CreatedSince}}{{.CreatedSince}}{{else}}N/A{{end}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}`;
const headers = {
  ID: "IMAGE",
  CreatedSince: "CREATED",
  CreatedAt: "CREATED AT",
  CreatedBy: "CREATED BY",
  Size: "SIZE",
  Comment: "COMMENT",
};

async function showHistory({ flags, args, client }: Invocation): Promise<number> {
  const engine = await client();
  const items = await engine.get<ImageHistoryItem[]>(`/images/${pathPart(args[0] ?? "")}/history`, {
    platform: platformQuery(flags.optional("platform")),
  });
  const options = { truncate: !flags.bool("no-trunc"), human: flags.bool("human") };
  await printListing({
    format: flags.string("format"),
    table: options.human ? table : table.replaceAll("CreatedSince", "CreatedAt"),
    headers,
    rows: items.map((item) => historyRow(item, options)),
    quiet: flags.bool("quiet") ? "{{.ID}}" : undefined,
  });
  return 0;
}

function historyRow(item: ImageHistoryItem, options: { truncate: boolean; human: boolean }): GoObject {
  const createdBy = item.CreatedBy.replaceAll("\t", " ");
  const created = item.Created * 1000;
  return {
    [goType]: "*formatter.historyContext",
    ID: options.truncate ? shortId(item.Id) : item.Id,
    CreatedSince: !options.human ? rfc3339(created) : item.Created > 0 ? ago(created) : "",
    CreatedAt: rfc3339(created),
    CreatedBy: options.truncate ? ellipsis(createdBy, 45) : createdBy,
    Size: options.human ? formatSize(item.Size, 3) : String(item.Size),
    Comment: item.Comment,
  };
}
