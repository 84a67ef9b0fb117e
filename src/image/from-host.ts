import { EngineError, newId, shortId } from "../common/index.ts";
import type { Layer } from "../snapshot/index.ts";
import type { ImageRunConfig, ProgressMessage } from "../spec/index.ts";
import { addBaseFiles, addLinkerCache } from "./base-files.ts";
import { createImage, parseTag } from "./create-image.ts";
import { HostFiles } from "./host-files.ts";
import { HostPrograms, imagePath } from "./host-programs.ts";
import { encodeImageConfig } from "./image-bytes.ts";
import type { ImageRecord, ImageServices } from "./image-record.ts";
import type { LayerHold } from "./layer-holds.ts";
import { newLayer } from "./new-layer.ts";
import { writeHostFiles } from "./write-host-files.ts";

const maxPrograms = 1024;

/** See `ImageStore.fromHost`. All programs are found before anything is written. */
export async function* makeFromHost(
  services: ImageServices,
  { reference, programs }: { reference: string; programs: readonly string[] },
): AsyncGenerator<ProgressMessage> {
  parseTag(reference);
  if (programs.length === 0) throw new EngineError("invalidArgument", "No program was named to make an image of");
  if (programs.length > maxPrograms) {
    throw new EngineError("invalidArgument", `An image takes at most ${maxPrograms} programs, not ${programs.length}`);
  }
  const files = collectPrograms(programs);
  yield { status: `Copying ${files.entries().length} files of ${programs.length} programs and their libraries` };
  const instruction = `vitrine image from-host ${reference} ${programs.join(" ")}`;
  const image = await createHostImage(services, { reference, files, instruction });
  yield { status: image.id };
}

/** The programs with all they need, and the rest of a root file system. `alsoFor`: files whose libraries are wanted too. */
export function collectPrograms(programs: readonly string[], alsoFor: readonly string[] = []): HostFiles {
  const files = new HostFiles();
  const collector = new HostPrograms(files);
  for (const program of programs) collector.add(program);
  for (const path of alsoFor) collector.addNeeds(path);
  if (collector.needsLinkerCache) addLinkerCache(files);
  addBaseFiles(files);
  return files;
}

/** An image of one layer more than its base. The same files give the same id: its time is that of the newest file. */
export async function createHostImage(
  services: ImageServices,
  parts: { reference: string; files: HostFiles; instruction: string; base?: ImageRecord },
): Promise<ImageRecord> {
  const { reference, files, instruction, base } = parts;
  using hold = services.holds.hold("from host");
  const layer = await hostLayer(services, { files, parent: base?.chainId, hold });
  const newest = Math.max(files.newestSeconds(), Date.parse(base?.createdAt ?? "") / 1000 || 0);
  const created = new Date(newest * 1000).toISOString();
  const bytes = encodeImageConfig({
    created,
    config: base?.config.config ?? runConfig(files),
    diffIds: [...(base?.config.rootfs.diff_ids ?? []), layer.diffId],
    history: [...(base?.config.history ?? []), { created, created_by: instruction }],
  });
  const layers = [...(base?.layers.map((below) => below.chainId) ?? []), layer.chainId];
  return createImage(services, bytes, { layers, reference, ...(base ? { parent: base.id } : {}) });
}

async function hostLayer(
  services: ImageServices,
  { files, parent, hold }: { files: HostFiles; parent: string | undefined; hold: LayerHold },
): Promise<Layer> {
  const key = `from-host-${shortId(newId())}`;
  const layer = await newLayer(services, { key, parent, hold }, (directory) => writeHostFiles(files, directory));
  if (!layer) throw new EngineError("internal", "The layer of the host's programs came out empty");
  return layer;
}

function runConfig(files: HostFiles): ImageRunConfig {
  const shell = files.has("/usr/bin/bash") || files.has("/bin/bash") ? "bash" : "sh";
  return { Env: [`PATH=${imagePath}`], Cmd: [shell] };
}
