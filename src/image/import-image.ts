import { applyLayer, decompress } from "../archive/index.ts";
import { newId, shortId } from "../common/index.ts";
import type { ProgressMessage } from "../spec/index.ts";
import { applyConfigChanges } from "./config-change.ts";
import { createImage, parseTag } from "./create-image.ts";
import { encodeImageConfig } from "./image-bytes.ts";
import type { ImageServices } from "./image-record.ts";
import { newLayer } from "./new-layer.ts";

export interface ImportOptions {
  /** A tag for the image: `name:tag`. */
  readonly reference?: string;
  /** Dockerfile instructions: see `applyConfigChanges`. */
  readonly changes: readonly string[];
  readonly message: string;
}

/** See `ImageStore.import`. What is wrong with reference or changes is said before any of the tar is read. */
export async function* importImage(
  services: ImageServices,
  tar: AsyncIterable<Uint8Array>,
  options: ImportOptions,
): AsyncGenerator<ProgressMessage> {
  if (options.reference !== undefined) parseTag(options.reference);
  const config = applyConfigChanges({}, options.changes);
  using hold = services.holds.hold("import");
  const layer = await newLayer(
    services,
    { key: `import-${shortId(newId())}`, parent: undefined, hold },
    async (directory) => {
      await applyLayer(decompress(tar), directory);
    },
  );
  const created = new Date().toISOString();
  const bytes = encodeImageConfig({
    created,
    config,
    diffIds: layer ? [layer.diffId] : [],
    history: layer ? [{ created, comment: options.message }] : [],
    comment: options.message,
  });
  const tag = options.reference === undefined ? {} : { reference: options.reference };
  const image = await createImage(services, bytes, { layers: layer ? [layer.chainId] : [], ...tag });
  yield { status: image.id };
}
