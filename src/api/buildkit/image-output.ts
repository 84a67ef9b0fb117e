import { createHash } from "node:crypto";
import { EngineError } from "../../common/index.ts";
import type { Engine } from "../../engine/index.ts";
import { parseReference, withDefaultTag } from "../../spec/index.ts";
import type { BuildJob } from "./build-job.ts";
import { statusWith } from "./status-records.ts";

/** Names the image; what BuildKit's image exporter answers to the client. */
export async function exportImage(
  imageId: string | undefined,
  { engine, job, tags }: { engine: Engine; job: BuildJob; tags: readonly string[] },
): Promise<Map<string, string>> {
  if (imageId === undefined)
    throw new EngineError("invalidArgument", "No image was generated. Is your Dockerfile empty?");
  const digest = `sha256:${createHash("sha256").update(`${job.reference} exporting to image`).digest("hex")}`;
  const vertex = { digest, inputs: [], name: "exporting to image", cached: false, startedMs: Date.now() };
  job.tell(statusWith({ vertexes: [vertex] }));
  const tell = (name: string): void => {
    const now = Date.now();
    const status = { id: name, vertex: digest, name: "", current: 0, total: 0, timestampMs: now };
    job.tell(statusWith({ statuses: [{ ...status, startedMs: now, completedMs: now }] }));
  };
  tell(`writing image ${imageId}`);
  const names: string[] = [];
  for (const name of tags) {
    const reference = withDefaultTag(parseReference(name));
    const { domain, path, tag } = reference;
    await engine.images.tag(imageId, { repository: `${domain}/${path}`, tag: tag ?? "latest" });
    names.push(`${domain}/${path}:${tag ?? "latest"}`);
    tell(`naming to ${names.at(-1)}`);
  }
  job.tell(statusWith({ vertexes: [{ ...vertex, completedMs: Date.now() }] }));
  return new Map([
    ["containerimage.config.digest", imageId],
    ["containerimage.digest", imageId],
    ...(names.length === 0 ? [] : [["image.name", names.join(",")] as const]),
  ]);
}
