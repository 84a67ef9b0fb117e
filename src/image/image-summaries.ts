// The rules of moby's daemon/images/images.go.
import type { ImageSummary } from "../spec/index.ts";
import { booleanFilter, checkFilters, matchesLabels, matchesReference, untilMs } from "./image-filters.ts";
import { getImage } from "./image-lookup.ts";
import { imageDescriptor, imageManifests } from "./image-manifests.ts";
import type { Filters, ImageRecord, ImageServices, ImageUsers } from "./image-record.ts";

export interface SummaryOptions {
  /** Intermediate images too: those without a tag that others are built on. */
  readonly all: boolean;
  readonly filters: Filters;
  readonly digests?: boolean;
  /** Fill in `SharedSize`; -1 otherwise. */
  readonly sharedSize: boolean;
  /** Fill in `Containers`; -1 without. */
  readonly usedBy?: ImageUsers;
  /** Fill in `Manifests`. */
  readonly manifests?: boolean;
}

const knownFilters = ["dangling", "label", "label!", "before", "since", "reference", "until"];

/** See `ImageStore.summaries`. */
export function summarizeImages(services: ImageServices, options: SummaryOptions): ImageSummary[] {
  checkFilters(options.filters, knownFilters);
  const accepts = imageFilter(services, options);
  const images = services.table.all();
  const parents = new Set(images.map((image) => image.parent));
  const uses = options.sharedSize ? countLayerUses(images) : undefined;
  return images
    .filter((image) => accepts(image) && !isShownByItsIndex(services, image))
    .map((image) => shownReferences(image, { options, hasChildren: parents.has(image.id) }))
    .filter((shown) => shown !== undefined)
    .toSorted((a, b) => Date.parse(b.image.createdAt) - Date.parse(a.image.createdAt))
    .map(({ image, repoTags, repoDigests }) => ({
      Id: image.id,
      ParentId: image.parent,
      RepoTags: repoTags,
      RepoDigests: repoDigests,
      Created: unixSeconds(image.createdAt),
      Size: image.sizeBytes,
      VirtualSize: image.sizeBytes,
      SharedSize: uses ? sharedSize(image, uses) : -1,
      Labels: image.config.config?.Labels ?? null,
      Containers: options.usedBy ? options.usedBy(image.id).length : -1,
      ...manifestMembers(services, image, options),
    }));
}

/** What another image's entry stands for: a name of several platforms is listed once. */
function isShownByItsIndex({ table }: ImageServices, image: ImageRecord): boolean {
  return image.repoTags.length + image.repoDigests.length === 0 && table.indexes.keeps(image.id);
}

function manifestMembers(
  services: ImageServices,
  image: ImageRecord,
  { manifests, usedBy }: SummaryOptions,
): Pick<ImageSummary, "Descriptor" | "Manifests"> {
  const index = services.table.indexes.of(image.id).find((digest) => services.table.indexes.isNamed(digest));
  const shown = { image, index, usedBy };
  const descriptor = imageDescriptor(services, shown);
  return {
    ...(descriptor ? { Descriptor: descriptor } : {}),
    ...(manifests ? { Manifests: imageManifests(services, shown) } : {}),
  };
}

/** The filters that look at the image alone. */
function imageFilter({ table }: ImageServices, { filters }: SummaryOptions): (image: ImageRecord) => boolean {
  const time = (name: string): number[] =>
    (filters.get(name) ?? []).map((reference) => Date.parse(getImage(table, reference).createdAt));
  const before = [...time("before"), untilMs(filters) ?? Infinity];
  const since = time("since");
  return (image) => {
    const created = Date.parse(image.createdAt);
    return (
      before.every((limit) => created < limit) &&
      since.every((limit) => created > limit) &&
      matchesLabels(image, filters)
    );
  };
}

/** What of the image's names is shown; undefined when the image is not. */
function shownReferences(
  image: ImageRecord,
  { options, hasChildren }: { options: SummaryOptions; hasChildren: boolean },
): { image: ImageRecord; repoTags: string[]; repoDigests: string[] } | undefined {
  const dangling = booleanFilter(options.filters, "dangling");
  const patterns = options.filters.get("reference");
  const matches = (reference: string): boolean => !patterns || matchesReference(patterns, reference);
  const repoTags = image.repoTags.filter(matches);
  const repoDigests = image.repoDigests.filter(matches);
  if (dangling === true && (repoTags.length > 0 || hasChildren)) return undefined;
  if (repoTags.length + repoDigests.length === 0) {
    const hidden = (!options.all && hasChildren) || dangling === false || patterns !== undefined;
    if (hidden) return undefined;
  }
  return { image, repoTags, repoDigests };
}

function countLayerUses(images: readonly ImageRecord[]): Map<string, number> {
  const uses = new Map<string, number>();
  for (const { chainId } of images.flatMap((image) => image.layers)) uses.set(chainId, (uses.get(chainId) ?? 0) + 1);
  return uses;
}

function sharedSize(image: ImageRecord, uses: ReadonlyMap<string, number>): number {
  return image.layers
    .filter((layer) => (uses.get(layer.chainId) ?? 0) > 1)
    .reduce((sum, layer) => sum + layer.sizeBytes, 0);
}

/** RFC 3339 → whole seconds; Go's zero time is 0 here, since year 1 is shown as 2000 years ago. */
export function unixSeconds(time: string | undefined): number {
  const milliseconds = Date.parse(time ?? "");
  return Number.isNaN(milliseconds) || milliseconds < 0 ? 0 : Math.floor(milliseconds / 1000);
}
