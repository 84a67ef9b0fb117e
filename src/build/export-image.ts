import { EngineError } from "../common/index.ts";
import type { ImageStore } from "../image/index.ts";
import { familiarString, parseReference, withDefaultTag, type Reference } from "../spec/index.ts";
import type { BuildResult } from "./build-request.ts";

/**
 * The exporter of this engine's own images: makes the image of a result, unless its last step named it, and tags it. Throws
 * invalidArgument where nothing was made.
 */
export async function exportImage(
  { images }: { readonly images: ImageStore },
  result: BuildResult,
  { tags }: { tags: readonly string[] },
): Promise<BuildResult & { readonly imageId: string }> {
  const references = parseTags(tags);
  const { imageId: known, config, layers } = result;
  const isEmpty = known === undefined && (config.history ?? []).length === 0;
  if (isEmpty) throw new EngineError("invalidArgument", "No image was generated. Is your Dockerfile empty?");
  const imageId = known ?? (await images.create(Buffer.from(JSON.stringify(config)), { layers })).id;
  // The images between the steps, too, and where there is no tag.
  await images.sync();
  for (const reference of references) {
    const { tag = "latest", ...repository } = reference;
    await images.tag(imageId, { repository: familiarString(repository), tag });
  }
  return { ...result, imageId };
}

/** The tags of a build, each once. Throws invalidArgument for what is none, so that nothing is built for it. */
export function parseTags(tags: readonly string[]): Reference[] {
  const references = new Map<string, Reference>();
  for (const tag of tags) {
    const reference = withDefaultTag(parseReference(tag));
    if (reference.digest !== undefined) throw new EngineError("invalidArgument", "build tag cannot contain a digest");
    references.set(familiarString(reference), reference);
  }
  return [...references.values()];
}
