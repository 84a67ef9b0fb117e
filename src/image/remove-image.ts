// The rules and words of moby's daemon/images/image_delete.go: clients and people know them.
import { EngineError, shortId } from "../common/index.ts";
import { collectBlobs } from "./collect-images.ts";
import { parseReference, withDefaultTag, repositoryName, type Platform } from "../spec/index.ts";
import { getImage, isIdPrefixOf } from "./image-lookup.ts";
import { getImageFor, indexMeant, membersMeant } from "./image-platform.ts";
import type { DeletedItem, ImageServices, ImageUsers } from "./image-record.ts";
import { referenceText, type StoredReference } from "./image-table.ts";
import { releaseLayers } from "./layer-release.ts";

interface Removal {
  readonly services: ImageServices;
  readonly usedBy: ImageUsers;
  readonly deleted: DeletedItem[];
  /** Images whose records are gone, with their layers' chainIDs, top first: the files follow once that is written. */
  readonly gone: { id: string; layers: readonly string[] }[];
}

/** What to look for before an image is deleted. The first two cannot be overruled. */
type Conflict = "children" | "running" | "references" | "stopped";
const hardConflicts: readonly Conflict[] = ["children", "running"];
const softConflicts: readonly Conflict[] = ["references", "stopped"];

/**
 * See `ImageStore.remove`. Names and records go in one transaction: killed amid it, the engine has all or none of them, and what
 * files are left then goes with the collection at its start.
 */
export async function removeImage(
  services: ImageServices,
  text: string,
  options: { force: boolean; noPrune: boolean; usedBy: ImageUsers; platforms?: readonly Platform[] },
): Promise<DeletedItem[]> {
  const removal: Removal = { services, usedBy: options.usedBy, deleted: [], gone: [] };
  services.table.atomically(() => {
    if (options.platforms?.length) removePlatforms(removal, { text, ...options, platforms: options.platforms });
    else removeRecords(removal, { text, ...options });
  });
  const { deleted } = removal;
  for (const { id, layers } of removal.gone) {
    deleted.push({ Deleted: id });
    for (const chainId of await releaseLayers(services, layers)) deleted.push({ Deleted: chainId });
  }
  await collectBlobs(services);
  return deleted;
}

function removeRecords(
  removal: Removal,
  { text, force, noPrune }: { text: string; force: boolean; noPrune: boolean },
): void {
  const { table } = removal.services;
  const { id } = getImage(table, text);
  const indexes = table.indexes.of(id);
  let references = table.references(id);
  const byName = !isIdPrefixOf(id, text);
  if (byName) {
    if (!force && isSingleReference(references)) refuseNameInUse(removal, { id, text });
    references = untagByName(removal, { id, text });
  } else if (isSingleReference(references)) {
    const conflicts: Conflict[] = force ? [...hardConflicts] : [...hardConflicts, "stopped"];
    const conflict = findConflict(removal, id, conflicts);
    if (conflict) throw conflictError(id, conflict);
    untagAll(removal, references);
  }
  if (!byName || references.length === 0) deleteImage(removal, id, { force, prune: !noPrune, quiet: byName });
  for (const digest of indexes) dropUnnamed(removal, { digest, force });
}

/** The images of an index go with its last name, but for those that something else names or uses. */
function dropUnnamed(removal: Removal, { digest, force }: { digest: string; force: boolean }): void {
  const { table } = removal.services;
  if (table.indexes.isNamed(digest)) return;
  const members = table.indexes.members(digest);
  table.indexes.forget(digest);
  for (const { imageId } of members) {
    if (table.references(imageId).length > 0 || table.indexes.keeps(imageId)) continue;
    deleteImage(removal, imageId, { force, prune: true, quiet: true });
  }
}

/** Takes platforms out of what a name stands for. Throws notFound when one is not here. */
function removePlatforms(
  removal: Removal,
  options: { text: string; platforms: readonly Platform[]; force: boolean; noPrune: boolean },
): void {
  const { text, platforms, force, noPrune } = options;
  const { table } = removal.services;
  for (const platform of platforms) {
    const { id } = getImageFor(table, text, platform);
    const index = indexMeant(table, text);
    const rest = index === undefined ? [] : table.indexes.members(index).filter(({ imageId }) => imageId !== id);
    const [next] = rest;
    if (index === undefined || !next) return removeRecords(removal, options);
    const conflict = findConflict(removal, id, force ? hardConflicts : [...hardConflicts, "stopped"]);
    if (conflict) throw conflictError(id, conflict);
    table.indexes.moveNames(index, { from: id, to: next.imageId });
    table.indexes.leave(index, id);
    if (table.references(id).length > 0 || table.indexes.keeps(id)) continue;
    deleteImage(removal, id, { force, prune: !noPrune, quiet: false });
  }
}

/** Untagging the last name would leave the container's image dangling, which must be asked for. */
function refuseNameInUse({ services, usedBy }: Removal, { id, text }: { id: string; text: string }): void {
  const others = membersMeant(services.table, text).map(({ imageId }) => imageId);
  const [container] = [...new Set([id, ...others])].flatMap((each) => usedBy(each));
  if (!container) return;
  throw new EngineError(
    "conflict",
    `conflict: unable to remove repository reference "${text}" (must force) - ` +
      `container ${shortId(container.id)} is using its referenced image ${shortId(id)}`,
  );
}

/** Removes the named reference, and with a repository's last tag its digests; returns the references left. */
function untagByName(removal: Removal, { id, text }: { id: string; text: string }): StoredReference[] {
  const { table } = removal.services;
  const parsed = withDefaultTag(parseReference(text));
  const repository = repositoryName(parsed);
  const references = table.references(id);
  const named = references.filter(
    (reference) =>
      reference.repository === repository &&
      (parsed.digest !== undefined
        ? "digest" in reference && reference.digest === parsed.digest
        : "tag" in reference && reference.tag === parsed.tag),
  );
  const members = membersMeant(table, text).map(({ imageId }) => imageId);
  untagAll(removal, named);
  if (parsed.digest !== undefined) return table.references(id);
  // Each image of the name loses the repository's digests with the repository's last tag.
  for (const each of new Set([id, ...members])) {
    const ofRepository = table.references(each).filter((reference) => reference.repository === repository);
    if (!ofRepository.some((reference) => "tag" in reference)) untagAll(removal, ofRepository);
  }
  return table.references(id);
}

function untagAll({ services, deleted }: Removal, references: readonly StoredReference[]): void {
  for (const reference of references) {
    services.table.removeReference(reference);
    deleted.push({ Untagged: referenceText(reference) });
  }
}

/** No reference, or all of one repository with at most one tag among them. */
function isSingleReference(references: readonly StoredReference[]): boolean {
  if (references.length <= 1) return true;
  const tags = references.filter((reference) => "tag" in reference);
  const repositories = new Set(references.map((reference) => reference.repository));
  return tags.length <= 1 && repositories.size === 1;
}

/** Deletes an image's records, then its parents' as far as nothing names or uses them. `quiet`: a conflict ends it silently. */
function deleteImage(removal: Removal, id: string, options: { force: boolean; prune: boolean; quiet: boolean }): void {
  const { table } = removal.services;
  const conflicts = options.force ? hardConflicts : [...hardConflicts, ...softConflicts];
  const conflict = findConflict(removal, id, conflicts);
  if (conflict) {
    const dangling = table.references(id).length === 0 && table.children(id).length === 0;
    if (options.quiet && (!dangling || conflict.used)) return;
    throw conflictError(id, conflict);
  }
  const image = table.byId(id);
  if (!image) return;
  untagAll(removal, table.references(id));
  table.delete(id);
  removal.gone.push({ id, layers: image.layers.map((layer) => layer.chainId).toReversed() });
  if (!options.prune || image.parent === "" || table.indexes.keeps(image.parent)) return;
  deleteImage(removal, image.parent, { force: false, prune: true, quiet: true });
}

interface FoundConflict {
  readonly hard: boolean;
  readonly used: boolean;
  readonly message: string;
}

function findConflict(
  { services, usedBy }: Removal,
  id: string,
  conflicts: readonly Conflict[],
): FoundConflict | undefined {
  if (conflicts.includes("children") && services.table.children(id).length > 0) {
    return { hard: true, used: false, message: "image has dependent child images" };
  }
  const users = usedBy(id);
  const running = users.find((container) => container.running);
  if (conflicts.includes("running") && running) {
    return { hard: true, used: true, message: `image is being used by running container ${shortId(running.id)}` };
  }
  if (conflicts.includes("references") && services.table.references(id).length > 0) {
    return { hard: false, used: false, message: "image is referenced in multiple repositories" };
  }
  const stopped = users.find((container) => !container.running);
  if (conflicts.includes("stopped") && stopped) {
    return { hard: false, used: true, message: `image is being used by stopped container ${shortId(stopped.id)}` };
  }
  return undefined;
}

function conflictError(id: string, { hard, message }: FoundConflict): EngineError {
  const remedy = hard ? "cannot be forced" : "must be forced";
  return new EngineError("conflict", `conflict: unable to delete ${shortId(id)} (${remedy}) - ${message}`);
}
