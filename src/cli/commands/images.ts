import { formatSize, shortId } from "../../common/index.ts";
import type { ImageSummary } from "../../spec/index.ts";
import type { Command, Invocation } from "../command.ts";
import { filterFlag, formatFlag, noTruncFlag } from "../common-flags.ts";
import { ago, goTime } from "../display.ts";
import { encodeFilters } from "../filters.ts";
import { goType, type GoObject } from "../go-template/index.ts";
import { printListing } from "../listing.ts";
import { print } from "../output.ts";
import { CommandFailure } from "../usage-error.ts";

export const command: Command = {
  usage: "images [OPTIONS] [REPOSITORY[:TAG]]",
  description: "List images",
  aliases: ["image ls", "image list", "images"],
  flags: [
    { name: "all", short: "a", kind: "bool", description: "Show all images (default hides intermediate images)" },
    { name: "digests", kind: "bool", description: "Show digests" },
    filterFlag(),
    formatFlag,
    noTruncFlag,
    { name: "quiet", short: "q", kind: "bool", description: "Only show image IDs" },
    { name: "tree", kind: "bool", description: "List images as a tree, with the platforms that each is for" },
  ],
  arguments: { min: 0, max: 1 },
  run: listImages,
};

const headers = {
  ID: "IMAGE ID",
  Repository: "REPOSITORY",
  Tag: "TAG",
  Digest: "DIGEST",
  CreatedSince: "CREATED",
  CreatedAt: "CREATED AT",
  Size: "SIZE",
  Containers: "CONTAINERS",
  VirtualSize: "SIZE",
  SharedSize: "SHARED SIZE",
  UniqueSize: "UNIQUE SIZE",
};

const table = String.raw`{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}`;
const digestTable = String.raw`{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}`;

async function listImages({ flags, args, client }: Invocation): Promise<number> {
  const tree = flags.bool("tree");
  for (const other of ["quiet", "no-trunc", "digests", "format"])
    if (tree && flags.changed(other)) throw new CommandFailure(`--${other} is not yet supported with --tree`);
  const format = flags.string("format");
  const digests = flags.bool("digests") || /\.Digest\b/.test(format);
  const engine = await client();
  const images = await engine.get<ImageSummary[]>("/images/json", {
    all: flags.bool("all") || undefined,
    digests: digests || undefined,
    manifests: tree || undefined,
    filters: encodeFilters(flags.list("filter"), args[0] === undefined ? {} : { reference: args[0] }),
  });
  if (tree) {
    const { imageTree } = await import("../image-tree.ts");
    print(await imageTree(engine, images));
    return 0;
  }
  const truncate = !flags.bool("no-trunc");
  await printListing({
    format,
    table: flags.bool("digests") ? digestTable : table,
    headers,
    rows: images.flatMap((image) => imageRows(image, { truncate, digests })),
    quiet: flags.bool("quiet") ? "{{.ID}}" : undefined,
  });
  return 0;
}

const nothing = "<none>";

/** One row for each tag and digest, as docker lists them. */
export function imageRows(image: ImageSummary, options: { truncate: boolean; digests: boolean }): GoObject[] {
  const digests = (image.RepoDigests ?? []).filter((digest) => !digest.startsWith(nothing)).map(splitDigest);
  const tags = (image.RepoTags ?? []).filter((tag) => !tag.startsWith(nothing)).map(splitTag);
  const row = (name: { repository: string; tag?: string; digest?: string }): GoObject => imageRow(image, name, options);
  if (tags.length === 0) {
    if (digests.length === 0) return [row({ repository: nothing })];
    return digests.map((digest) => row(digest));
  }
  return tags.flatMap(({ repository, tag }) => {
    const own = digests.filter((digest) => digest.repository === repository);
    if (!options.digests || own.length === 0) return [row({ repository, tag })];
    return own.map(({ digest }) => row({ repository, tag, digest }));
  });
}

function imageRow(
  image: ImageSummary,
  name: { repository: string; tag?: string; digest?: string },
  options: { truncate: boolean },
): GoObject {
  const size = (value: number | undefined): string => (value === undefined || value < 0 ? "N/A" : formatSize(value, 3));
  const exact = (value: number | undefined): string => (value === undefined || value < 0 ? "N/A" : formatSize(value));
  const unique = image.SharedSize < 0 || image.SharedSize === undefined ? undefined : image.Size - image.SharedSize;
  return {
    [goType]: "*formatter.imageContext",
    ID: options.truncate ? shortId(image.Id) : image.Id,
    Repository: name.repository,
    Tag: name.tag ?? nothing,
    Digest: name.digest ?? nothing,
    CreatedSince: image.Created > 0 ? ago(image.Created * 1000) : "N/A",
    CreatedAt: goTime(image.Created * 1000),
    Size: size(image.Size),
    VirtualSize: size(image.Size),
    SharedSize: exact(image.SharedSize),
    UniqueSize: exact(unique),
    Containers: image.Containers === undefined || image.Containers < 0 ? "N/A" : String(image.Containers),
  };
}

function splitTag(text: string): { repository: string; tag: string } {
  const colon = text.lastIndexOf(":");
  return { repository: text.slice(0, colon), tag: text.slice(colon + 1) };
}

function splitDigest(text: string): { repository: string; digest: string } {
  const at = text.indexOf("@");
  return { repository: text.slice(0, at), digest: text.slice(at + 1) };
}
