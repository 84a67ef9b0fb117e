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
  const active = containers.filter(({ State }) => /running|paused|restarting/.test(State));
  const size = (list: readonly ContainerSummary[]): number => list.reduce((sum, { SizeRw }) => sum + (SizeRw ?? 0), 0);
  const whole = size(containers);
  return totals("Containers", {
    count: containers.length,
    active: active.length,
    size: whole,
    free: whole - size(active),
  });
}

function volumeTotals({ Volumes }: DiskUsage): GoObject {
  const volumes = Volumes ?? [];
  const active = volumes.filter((volume) => (volume.UsageData?.RefCount ?? 0) > 0);
  const size = (list: readonly Volume[]): number =>
    list.reduce((sum, { UsageData }) => sum + Math.max(0, UsageData?.Size ?? 0), 0);
  const whole = size(volumes);
  return totals("Local Volumes", {
    count: volumes.length,
    active: active.length,
    size: whole,
    free: whole - size(active),
  });
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

async function verboseText(usage: DiskUsage): Promise<string> {
  const images = (usage.Images ?? []).flatMap((image) => imageRows(image, { truncate: true, digests: false }));
  const imageTable = await renderListing({
    format: "",
    table: String.raw`{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}`,
    headers: {
      Repository: "REPOSITORY",
      Tag: "TAG",
      ID: "IMAGE ID",
      CreatedSince: "CREATED",
      Size: "SIZE",
      SharedSize: "SHARED SIZE",
      UniqueSize: "UNIQUE SIZE",
      Containers: "CONTAINERS",
    },
    rows: images,
  });
  const containerTable = await renderListing({
    format: "",
    table: String.raw`{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}`,
    headers: {
      ID: "CONTAINER ID",
      Image: "IMAGE",
      Command: "COMMAND",
      LocalVolumes: "LOCAL VOLUMES",
      Size: "SIZE",
      RunningFor: "CREATED",
      Status: "STATUS",
      Names: "NAMES",
    },
    // The size of the writable layer alone: the image's is above.
    rows: (usage.Containers ?? []).map((container) => containerRow({ ...container, SizeRootFs: 0 }, true)),
  });
  const volumeTable = await renderListing({
    format: "",
    table: String.raw`{{.Name}}\t{{.Links}}\t{{.Size}}`,
    headers: volumeHeaders,
    rows: (usage.Volumes ?? []).map(volumeRow),
  });
  const cache = usage.BuildCache ?? [];
  const cacheSize = formatSize(cache.reduce((sum, record) => sum + record.Size, 0));
  const cacheTable = await renderListing({
    format: "",
    table: String.raw`{{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t{{.UsageCount}}\t{{.Shared}}`,
    headers: {
      ID: "CACHE ID",
      CacheType: "CACHE TYPE",
      Size: "SIZE",
      CreatedSince: "CREATED",
      LastUsedSince: "LAST USED",
      UsageCount: "USAGE",
      Shared: "SHARED",
    },
    rows: cache.map(cacheRow),
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
