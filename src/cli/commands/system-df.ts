import { formatSize, shortId } from "../../common/index.ts";
import type { ContainerSummary, ImageSummary, Volume } from "../../spec/index.ts";
import type { Command, Invocation } from "../command.ts";
import { formatFlag } from "../common-flags.ts";
import { ago } from "../display.ts";
import { goType, type GoObject } from "../go-template/index.ts";
import { printListing, renderListing } from "../listing.ts";
import { print } from "../output.ts";
import { containerRow } from "./ps.ts";
import { imageRows } from "./images.ts";
import { volumeHeaders, volumeRow } from "./volume-ls.ts";

export const command: Command = {
  usage: "df [OPTIONS]",
  description: "Show disk usage",
  flags: [
    formatFlag,
    { name: "verbose", short: "v", kind: "bool", description: "Show detailed information on space usage" },
  ],
  arguments: { min: 0, max: 0 },
  run: showDiskUsage,
};

interface CacheRecord {
  readonly ID: string;
  readonly Type?: string;
  readonly Size: number;
  readonly InUse?: boolean;
  readonly Shared?: boolean;
  readonly CreatedAt?: string;
  readonly LastUsedAt?: string | null;
  readonly UsageCount?: number;
}

interface DiskUsage {
  readonly LayersSize: number;
  readonly Images: ImageSummary[] | null;
  readonly Containers: ContainerSummary[] | null;
  readonly Volumes: Volume[] | null;
  readonly BuildCache: CacheRecord[] | null;
}

async function showDiskUsage({ flags, client }: Invocation): Promise<number> {
  const engine = await client();
  const usage = await engine.get<DiskUsage>("/system/df");
  if (flags.bool("verbose")) {
    print(await verboseText(usage));
    return 0;
  }
  await printListing({
    format: flags.string("format"),
    table: String.raw`{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}`,
    headers: { Type: "TYPE", TotalCount: "TOTAL", Active: "ACTIVE", Size: "SIZE", Reclaimable: "RECLAIMABLE" },
    rows: [imageTotals(usage), containerTotals(usage), volumeTotals(usage), cacheTotals(usage)],
  });
  return 0;
}

function totals(
  type: string,
  values: { count: number; active: number; size: number; free: number; percent?: boolean },
): GoObject {
  const share =
    values.percent === false || values.size <= 0 ? "" : ` (${Math.floor((values.free * 100) / values.size)}%)`;
  return {
    [goType]: "*formatter.diskUsageContext",
    Type: type,
    TotalCount: String(values.count),
    Active: String(values.active),
    Size: formatSize(values.size),
    Reclaimable: formatSize(values.free) + share,
  };
}

function imageTotals({ Images, LayersSize }: DiskUsage): GoObject {
  const images = Images ?? [];
  const used = images.filter((image) => image.Containers > 0);
  const kept = used.reduce(
    (sum, image) => (image.Size < 0 || image.SharedSize < 0 ? sum : sum + image.Size - image.SharedSize),
    0,
  );
  return totals("Images", { count: images.length, active: used.length, size: LayersSize, free: LayersSize - kept });
}

function containerTotals({ Containers }: DiskUsage): GoObject {
  const containers = Containers ?? [];
  return usedTotals("Containers", containers, {
    active: containers.filter(({ State }) => /running|paused|restarting/.test(State)),
    sizeOf: ({ SizeRw }) => SizeRw ?? 0,
  });
}

function volumeTotals({ Volumes }: DiskUsage): GoObject {
  const volumes = Volumes ?? [];
  return usedTotals("Local Volumes", volumes, {
    active: volumes.filter((volume) => (volume.UsageData?.RefCount ?? 0) > 0),
    sizeOf: ({ UsageData }) => Math.max(0, UsageData?.Size ?? 0),
  });
}

/** Of things that are free as soon as nobody uses them. */
function usedTotals<T>(
  type: string,
  all: readonly T[],
  { active, sizeOf }: { active: readonly T[]; sizeOf: (one: T) => number },
): GoObject {
  const size = all.reduce((sum, one) => sum + sizeOf(one), 0);
  const free = size - active.reduce((sum, one) => sum + sizeOf(one), 0);
  return totals(type, { count: all.length, active: active.length, size, free });
}

function cacheTotals({ BuildCache }: DiskUsage): GoObject {
  const records = BuildCache ?? [];
  const size = (list: readonly CacheRecord[]): number => list.reduce((sum, { Size }) => sum + Size, 0);
  const active = records.filter((record) => record.InUse);
  const free = size(records.filter((record) => !record.InUse && !record.Shared));
  return totals("Build Cache", {
    count: records.length,
    active: active.length,
    size: size(records),
    free,
    percent: false,
  });
}

/** A table with these columns: field → head. */
function tableOf(rows: readonly GoObject[], headers: Readonly<Record<string, string>>): Promise<string> {
  const table = Object.keys(headers)
    .map((field) => `{{.${field}}}`)
    .join(String.raw`\t`);
  return renderListing({ format: "", table, headers, rows });
}

async function verboseText(usage: DiskUsage): Promise<string> {
  const images = (usage.Images ?? []).flatMap((image) => imageRows(image, { truncate: true, digests: false }));
  const imageTable = await tableOf(images, {
    Repository: "REPOSITORY",
    Tag: "TAG",
    ID: "IMAGE ID",
    CreatedSince: "CREATED",
    Size: "SIZE",
    SharedSize: "SHARED SIZE",
    UniqueSize: "UNIQUE SIZE",
    Containers: "CONTAINERS",
  });
  // The size of the writable layer alone: the image's is above.
  const containers = (usage.Containers ?? []).map((container) => containerRow({ ...container, SizeRootFs: 0 }, true));
  const containerTable = await tableOf(containers, {
    ID: "CONTAINER ID",
    Image: "IMAGE",
    Command: "COMMAND",
    LocalVolumes: "LOCAL VOLUMES",
    Size: "SIZE",
    RunningFor: "CREATED",
    Status: "STATUS",
    Names: "NAMES",
  });
  const volumes = (usage.Volumes ?? []).map(volumeRow);
  const { Name, Links, Size } = volumeHeaders;
  const volumeTable = await tableOf(volumes, { Name, Links, Size });
  const cache = usage.BuildCache ?? [];
  const cacheSize = formatSize(cache.reduce((sum, record) => sum + record.Size, 0));
  const cacheTable = await tableOf(cache.map(cacheRow), {
    ID: "CACHE ID",
    CacheType: "CACHE TYPE",
    Size: "SIZE",
    CreatedSince: "CREATED",
    LastUsedSince: "LAST USED",
    UsageCount: "USAGE",
    Shared: "SHARED",
  });
  return `Images space usage:\n\n${imageTable}\nContainers space usage:\n\n${containerTable}\nLocal Volumes space usage:\n\n${volumeTable}\nBuild cache usage: ${cacheSize}\n\n${cacheTable}`;
}

function cacheRow(record: CacheRecord): GoObject {
  const since = (time: string | null | undefined): string => (time ? ago(Date.parse(time)) : "");
  return {
    [goType]: "*formatter.buildCacheContext",
    ID: shortId(record.ID),
    CacheType: record.Type ?? "",
    Size: formatSize(record.Size, 3),
    CreatedSince: since(record.CreatedAt),
    LastUsedSince: since(record.LastUsedAt),
    UsageCount: String(record.UsageCount ?? 0),
    Shared: String(record.Shared ?? false),
  };
}
