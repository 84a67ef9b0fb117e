import type { Descriptor } from "../spec/index.ts";
import { parseReference } from "../spec/index.ts";
import { invalid, type ArchiveMembers } from "./archive-members.ts";
import { isObject } from "./image-config.ts";
import type { IndexedImage } from "./image-record.ts";

/** An image found in an archive, of either form. */
export interface ArchivedImage {
  readonly configBytes: Uint8Array;
  /** Lowest first; undefined where the archive leaves out a layer, which then must exist here. */
  readonly layers: readonly (Descriptor | undefined)[];
  /** `name:tag` each. */
  readonly references: readonly string[];
  /** How an index in the archive names it; its blobs are then kept as they came. */
  readonly indexed?: IndexedImage;
}

/** The images of a docker-archive, by its manifest.json (Docker 1.10 and later, podman, skopeo). */
export function readDockerArchive(members: ArchiveMembers): ArchivedImage[] {
  const manifest = members.json("manifest.json");
  if (!Array.isArray(manifest)) throw invalid('"manifest.json" is no list');
  return manifest.map((entry: unknown) => {
    if (!isObject(entry)) throw invalid('"manifest.json" holds something that is no object');
    const { Config: config, Layers: layers, RepoTags: tags } = entry;
    if (typeof config !== "string") throw invalid('"manifest.json" has an image without "Config"');
    return {
      configBytes: members.bytes(config),
      layers: textList(layers, "Layers").map((name) => members.find(name)),
      references: textList(tags, "RepoTags").filter(isTagged),
    };
  });
}

function textList(value: unknown, member: string): string[] {
  const list = value ?? [];
  if (!Array.isArray(list) || !list.every((entry) => typeof entry === "string")) {
    throw invalid(`"${member}" in "manifest.json" is no list of text`);
  }
  return list;
}

/** Docker passes over references that have no tag. A wrong one is refused before anything is made. */
function isTagged(text: string): boolean {
  return parseReference(text).tag !== undefined;
}
