// The rules and words of moby's daemon/images/image_delete.go: clients and people know them.
import { EngineError, shortId } from "../common/index.ts";
import { collectBlobs } from "./collect-images.ts";
import { parseReference, withDefaultTag, repositoryName } from "../spec/index.ts";
import { getImage, isIdPrefixOf } from "./image-lookup.ts";
import type { DeletedItem, ImageServices, ImageUsers } from "./image-record.ts";
import { referenceText, type StoredReference } from "./image-table.ts";
import { releaseLayers } from "./layer-release.ts";

interface Removal {
  readonly services: ImageServices;
  readonly usedBy: ImageUsers;
  readonly deleted: DeletedItem[];
}

/** What to look for before an image is deleted. The first two cannot be overruled. */
type Conflict = "children" | "running" | "references" | "stopped";
const hardConflicts: readonly Conflict[] = ["children", "running"];
const softConflicts: readonly Conflict[] = ["references", "stopped"];

/** See `ImageStore.remove`. */
export async function removeImage(
  services: ImageServices,
  text: string,
  options: { force: boolean; noPrune: boolean; usedBy: ImageUsers },
): Promise<DeletedItem[]> {
  const { id } = getImage(services.table, text);
  const removal: Removal = { services, usedBy: options.usedBy, deleted: [] };
  let references = services.table.references(id);
  const byName = !isIdPrefixOf(id, text);
  if (byName) {
    if (!options.force && isSingleReference(references)) refuseNameInUse(removal, { id, text });
    references = untagByName(removal, { id, text });
    if (references.length > 0) return removal.deleted;
  } else if (isSingleReference(references)) {
    const conflicts: Conflict[] = options.force ? [...hardConflicts] : [...hardConflicts, "stopped"];
    const conflict = findConflict(removal, id, conflicts);
    if (conflict) throw conflictError(id, conflict);
    untagAll(removal, references);
  }
  await deleteImage(removal, id, { force: options.force, prune: !options.noPrune, quiet: byName });
  await collectBlobs(services);
  return removal.deleted;
}

/** Untagging the last name would leave the container's image dangling, which must be asked for. */
function refuseNameInUse({ usedBy }: Removal, { id, text }: { id: string; text: string }): void {
  const [container] = usedBy(id);
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
  untagAll(removal, named);
  const left = table.references(id);
  if (parsed.digest !== undefined) return left;
  const ofRepository = left.filter((reference) => reference.repository === repository);
  if (ofRepository.some((reference) => "tag" in reference)) return left;
  untagAll(removal, ofRepository);
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

/** Deletes image and layers, then its parents as far as nothing names or uses them. `quiet`: a conflict ends it silently. */
async function deleteImage(
  removal: Removal,
  id: string,
  options: { force: boolean; prune: boolean; quiet: boolean },
): Promise<void> {
  const { services, deleted } = removal;
  const conflicts = options.force ? hardConflicts : [...hardConflicts, ...softConflicts];
  const conflict = findConflict(removal, id, conflicts);
  if (conflict) {
    const dangling = services.table.references(id).length === 0 && services.table.children(id).length === 0;
    if (options.quiet && (!dangling || conflict.used)) return;
    throw conflictError(id, conflict);
  }
  const image = services.table.byId(id);
  if (!image) return;
  untagAll(removal, services.table.references(id));
  services.table.delete(id);
  deleted.push({ Deleted: id });
  const layers = image.layers.map((layer) => layer.chainId).toReversed();
  for (const chainId of await releaseLayers(services, layers)) deleted.push({ Deleted: chainId });
  if (!options.prune || image.parent === "") return;
  await deleteImage(removal, image.parent, { force: false, prune: true, quiet: true });
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
