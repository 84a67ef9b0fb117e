import { formatSize, shortId } from "../../common/index.ts";
import type { ContainerSummary } from "../../spec/index.ts";
import type { Command, Invocation } from "../command.ts";
import { filterFlag, formatFlag, noTruncFlag } from "../common-flags.ts";
import { ago, displayPorts, ellipsis, goTime, joinLabels } from "../display.ts";
import { encodeFilters } from "../filters.ts";
import { goType, type GoObject } from "../go-template/index.ts";
import { printListing } from "../listing.ts";

export const command: Command = {
  usage: "ps [OPTIONS]",
  description: "List containers",
  aliases: ["container ls", "container list", "container ps", "ps"],
  flags: [
    { name: "all", short: "a", kind: "bool", description: "Show all containers (default shows just running)" },
    filterFlag(),
    formatFlag,
    {
      name: "last",
      short: "n",
      kind: "int",
      default: -1,
      description: "Show n last created containers (includes all states)",
    },
    {
      name: "latest",
      short: "l",
      kind: "bool",
      description: "Show the latest created container (includes all states)",
    },
    noTruncFlag,
    { name: "quiet", short: "q", kind: "bool", description: "Only display container IDs" },
    { name: "size", short: "s", kind: "bool", description: "Display total file sizes" },
  ],
  arguments: { min: 0, max: 0 },
  run: listContainers,
};

const headers = {
  ID: "CONTAINER ID",
  Names: "NAMES",
  Image: "IMAGE",
  Command: "COMMAND",
  CreatedAt: "CREATED AT",
  RunningFor: "CREATED",
  Ports: "PORTS",
  State: "STATE",
  Status: "STATUS",
  Size: "SIZE",
  Labels: "LABELS",
  Mounts: "MOUNTS",
  LocalVolumes: "LOCAL VOLUMES",
  Networks: "NETWORKS",
  Platform: "PLATFORM",
};

const table = String.raw`{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}`;

async function listContainers({ flags, client }: Invocation): Promise<number> {
  const format = flags.string("format");
  const size = flags.bool("size") || /\.Size\b/.test(format);
  const limit = flags.bool("latest") ? 1 : flags.number("last");
  const engine = await client();
  const containers = await engine.get<ContainerSummary[]>("/containers/json", {
    all: flags.bool("all") || undefined,
    limit: limit > 0 ? limit : undefined,
    size: size || undefined,
    filters: encodeFilters(flags.list("filter")),
  });
  const truncate = !flags.bool("no-trunc");
  await printListing({
    format,
    table: flags.bool("size") ? String.raw`${table}\t{{.Size}}` : table,
    headers,
    rows: containers.map((container) => containerRow(container, truncate)),
    quiet: flags.bool("quiet") ? "{{.ID}}" : undefined,
    failures: { parse: "failed to parse template", execute: "failed to execute template" },
  });
  return 0;
}

/** The fields that a `--format` of ps may name. */
export function containerRow(container: ContainerSummary, truncate: boolean): GoObject {
  const names = container.Names.map((name) => name.replace(/^\//, ""));
  const command = truncate ? ellipsis(container.Command, 20) : container.Command;
  const mounts = (container.Mounts ?? []).map((mount) => mount.Name || mount.Source);
  return {
    [goType]: "*formatter.ContainerContext",
    ID: truncate ? shortId(container.Id) : container.Id,
    Names: truncate ? (names.find((name) => !name.includes("/")) ?? "") : names.join(","),
    Image: imageName(container, truncate),
    Command: quote(command),
    CreatedAt: goTime(container.Created * 1000),
    RunningFor: ago(container.Created * 1000),
    Ports: displayPorts(container.Ports ?? []),
    State: container.State,
    Status: container.Status,
    Size: sizeText(container),
    Labels: joinLabels(container.Labels),
    Label: (name: unknown) => container.Labels?.[String(name)] ?? "",
    Mounts: (truncate ? mounts.map((name) => ellipsis(name, 15)) : mounts).join(","),
    LocalVolumes: String((container.Mounts ?? []).filter((mount) => mount.Driver === "local").length),
    Networks: Object.keys(container.NetworkSettings?.Networks ?? {}).join(","),
    Platform: null,
  };
}

function imageName(container: ContainerSummary, truncate: boolean): string {
  if (container.Image === "") return "<no image>";
  if (!truncate) return container.Image;
  if (shortId(container.ImageID) === shortId(container.Image)) return shortId(container.Image);
  return container.Image.replace(/@sha256:[0-9a-f]{64}$/, "").replace(/^docker\.io\/(library\/)?/, "");
}

function sizeText(container: ContainerSummary): string {
  const writable = formatSize(container.SizeRw ?? 0, 3);
  return container.SizeRootFs ? `${writable} (virtual ${formatSize(container.SizeRootFs, 3)})` : writable;
}

/** Go's strconv.Quote. */
function quote(text: string): string {
  return JSON.stringify(text).replace(/\\u00([0-9a-f]{2})/g, "\\x$1");
}
