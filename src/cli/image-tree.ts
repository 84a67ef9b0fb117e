import { type ApiClient, pathPart } from "../api/client/index.ts";
import { formatSize, shortId } from "../common/index.ts";
import type { ImageInspect, ImageSummary } from "../spec/index.ts";
import { alignColumns } from "./tabwriter.ts";

/** An image of an index, as the Engine API lists it since 1.47 where the engine keeps indexes. */
interface PlatformImage {
  readonly ID: string;
  readonly Kind: string;
  readonly Size?: { readonly Total: number; readonly Content: number };
  readonly ImageData?: { readonly Platform?: Platform; readonly Containers?: readonly string[] | null };
}

interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
}

type Row = readonly [name: string, id: string, diskUsage: string, contentSize: string, extra: string];

/**
 * `image ls --tree`: each image under all its names, newest first, and below it one line for each platform that it is for, as docker
 * draws it. `U` marks what a container uses.
 */
export async function imageTree(engine: ApiClient, images: readonly ImageSummary[]): Promise<string> {
  const newestFirst = images.toSorted((left, right) => right.Created - left.Created);
  const blocks = await Promise.all(newestFirst.map((image) => treeOf(engine, image)));
  const head = ["IMAGE", "ID", "DISK USAGE", "CONTENT SIZE", "EXTRA"];
  const lines = [head, ...blocks.flat()].map((cells) => `${cells.join("\t")}\n`);
  return alignColumns(lines.join(""), { minWidth: 0 }).replaceAll(/ +$/gm, "");
}

async function treeOf(engine: ApiClient, image: ImageSummary & { Manifests?: PlatformImage[] | null }): Promise<Row[]> {
  const platforms = (image.Manifests ?? []).filter((one) => one.Kind === "image");
  const names = (image.RepoTags ?? []).filter((name) => !name.startsWith("<none>"));
  const own = names.length > 0 ? names : ["<none>"];
  const children = platforms.length > 0 ? platforms.map(platformRow) : [await onlyPlatform(engine, image)];
  const content = platforms.reduce((sum, { Size }) => sum + (Size?.Content ?? 0), 0);
  const used = image.Containers > 0 || children.some((row) => row[4] !== "");
  return [
    ...own.slice(0, -1).map((name): Row => [name, "", "", "", ""]),
    [own.at(-1) ?? "", shortId(image.Id), formatSize(image.Size, 3), formatSize(content, 3), used ? "U" : ""],
    ...children.map(([name, ...rest], index): Row => [`${index + 1 < children.length ? "├─" : "└─"} ${name}`, ...rest]),
  ];
}

function platformRow({ ID, Size, ImageData }: PlatformImage): Row {
  const size = (bytes: number | undefined): string => formatSize(bytes ?? 0, 3);
  const used = (ImageData?.Containers?.length ?? 0) > 0;
  return [platformText(ImageData?.Platform), shortId(ID), size(Size?.Total), size(Size?.Content), used ? "U" : ""];
}

/** An image that no index brought is for the one platform that its config names. */
async function onlyPlatform(engine: ApiClient, image: ImageSummary): Promise<Row> {
  const { Os, Architecture, Variant } = await engine.get<ImageInspect>(`/images/${pathPart(image.Id)}/json`);
  const platform = { os: Os, architecture: Architecture, ...(Variant ? { variant: Variant } : {}) };
  const used = image.Containers > 0 ? "U" : "";
  return [platformText(platform), shortId(image.Id), formatSize(image.Size, 3), formatSize(0, 3), used];
}

function platformText(platform: Platform | undefined): string {
  if (!platform) return "unknown";
  return [platform.os, platform.architecture, platform.variant].filter(Boolean).join("/");
}
