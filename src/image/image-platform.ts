import { EngineError } from "../common/index.ts";
import { platformText } from "../registry/index.ts";
import { isDigest, parseReference, repositoryName, withDefaultTag, type Platform } from "../spec/index.ts";
import { getImage, isIdPrefixOf } from "./image-lookup.ts";
import type { ImageRecord } from "./image-record.ts";
import type { ImageTable } from "./image-table.ts";
import type { IndexMember } from "./index-table.ts";

/** Whether an image for `offered` is one for `wanted`. A variant that one of them leaves open is any. */
export function fitsPlatform(offered: Platform, wanted: Platform): boolean {
  if (offered.os !== wanted.os || offered.architecture !== wanted.architecture) return false;
  return !offered.variant || !wanted.variant || offered.variant === wanted.variant;
}

/** The digest of the index that a name stands for; of an id, the latest index that holds the image. */
export function indexMeant(table: ImageTable, text: string): string | undefined {
  const { id } = getImage(table, text);
  if (isIdPrefixOf(id, text)) return table.indexes.of(id)[0];
  const reference = withDefaultTag(parseReference(text));
  if (reference.digest !== undefined) return table.indexes.descriptor(reference.digest)?.digest;
  return table.indexes.ofTag(repositoryName(reference), reference.tag ?? "");
}

/** The images that a name stands for here, each with its platform; one of no index is a single one. */
export function membersMeant(table: ImageTable, text: string): readonly IndexMember[] {
  const index = indexMeant(table, text);
  return index === undefined ? [] : table.indexes.members(index);
}

/** The image that a name means for a platform. Throws notFound with Docker's words when it is here for others only. */
export function getImageFor(table: ImageTable, text: string, platform: Platform): ImageRecord {
  const image = getImage(table, text);
  if (fitsPlatform(platformOf(image), platform)) return image;
  // An id names one image, whichever index holds it.
  const members = isIdPrefixOf(image.id, text) || isDigest(text) ? [] : membersMeant(table, text);
  const member = members.find((each) => fitsPlatform(each.platform, platform));
  const found = member && table.byId(member.imageId);
  if (found) return found;
  throw new EngineError(
    "notFound",
    `image with reference ${text} was found but does not match the specified platform: wanted ${platformText(platform)}, actual: ${platformText(platformOf(image))}`,
  );
}

/** As its config says. */
export function platformOf({ config }: Pick<ImageRecord, "config">): Platform {
  return {
    os: config.os,
    architecture: config.architecture,
    ...(config.variant ? { variant: config.variant } : {}),
  };
}
