import { EngineError } from "../common/index.ts";
import { familiarString, parseReference, withDefaultTag } from "../spec/index.ts";
import type { BuildResult } from "./build-request.ts";
import type { ExportRequest, ExportServices } from "./exporter.ts";

/**
 * Hands over an index of the images of several platforms: into this engine's images, or as an OCI archive. Answers
 * `containerimage.digest`, which is the index's, and `image.name`.
 */
export async function exportPlatforms(
  { images }: ExportServices,
  platforms: NonNullable<BuildResult["platforms"]>,
  { options, sink, signal = new AbortController().signal }: Pick<ExportRequest, "options" | "sink" | "signal">,
): Promise<ReadonlyMap<string, string>> {
  refuseFiles(options.type);
  using hold = images.hold("export platforms");
  const made: string[] = [];
  const ids: string[] = [];
  for (const { imageId, config, layers, attestations = [] } of platforms) {
    const top = layers.at(-1);
    if (top !== undefined) hold.add(top);
    const bytes = Buffer.from(JSON.stringify(config));
    const id = imageId ?? `sha256:${new Bun.CryptoHasher("sha256").update(bytes).digest("hex")}`;
    if (!images.find(id)) made.push((await images.create(bytes, { layers })).id);
    for (const attested of attestations) await images.attest(id, attested);
    ids.push(id);
  }
  const names = options.names.map((name) => familiarString(withDefaultTag(parseReference(name))));
  const isArchive = options.type === "oci";
  const { digest } = await images.createIndex(ids, { names: isArchive ? [] : names, signal });
  const answer = new Map([["containerimage.digest", digest]]);
  if (names.length > 0) answer.set("image.name", names.join(","));
  if (!isArchive) return answer;
  if (!sink) throw new EngineError("internal", "An exporter was given no place for its archive");
  await sink(await images.saveIndexAs({ id: ids[0] ?? "", index: digest }, names));
  // Made for the archive alone.
  images.forgetIndex(digest);
  for (const id of made) {
    if (images.find(id)) await images.remove(id, { force: false, noPrune: true, usedBy: () => [] });
  }
  return answer;
}

function refuseFiles(type: ExportRequest["options"]["type"]): void {
  if (type === "docker")
    throw new EngineError("unsupported", "docker exporter does not currently support exporting manifest lists");
  if (type === "local" || type === "tar")
    throw new EngineError("unsupported", `The exporter "${type}" does not take several platforms yet: build each`);
}
