import { EngineError } from "../common/index.ts";
import { isTag, parseReference } from "../spec/index.ts";
import { nameImage, parseTag } from "./create-image.ts";
import { getImage, isIdPrefixOf } from "./image-lookup.ts";
import { indexMeant } from "./image-platform.ts";
import type { ImageTable } from "./image-table.ts";

/** Puts a tag on an image, and on all of its index where `source` names one. `repository` is as people write it and has no tag of its own; an empty `tag` means `latest`. */
export function tagImage(table: ImageTable, source: string, target: { repository: string; tag: string }): void {
  const parsed = parseReference(target.repository);
  if (parsed.digest !== undefined) {
    throw new EngineError("invalidArgument", "refusing to create a tag with a digest reference");
  }
  const tag = target.tag === "" ? (parsed.tag ?? "latest") : target.tag;
  if (!isTag(tag)) throw new EngineError("invalidArgument", `invalid tag format: "${tag}"`);
  const bare = parsed.tag === undefined ? target.repository : target.repository.slice(0, -parsed.tag.length - 1);
  const { id } = getImage(table, source);
  const index = isIdPrefixOf(id, source) ? undefined : indexMeant(table, source);
  const name = parseTag(`${bare}:${tag}`);
  table.atomically(() => nameImage(table, { id, target: name, index }));
}
