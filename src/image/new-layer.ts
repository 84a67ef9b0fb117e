import type { Layer } from "../snapshot/index.ts";
import type { ImageServices } from "./image-record.ts";
import type { LayerHold } from "./layer-holds.ts";

/**
 * A layer whose files `fill` puts into a directory. Its diffID is that of the engine's own packing of them, so that it can be
 * saved and pushed without the stream it came from. Undefined when nothing was put in.
 */
export async function newLayer(
  { snapshots }: ImageServices,
  { key, parent, hold }: { key: string; parent: string | undefined; hold: LayerHold },
  fill: (directory: string) => Promise<void>,
): Promise<Layer | undefined> {
  hold.add(parent);
  await snapshots.prepare(key, parent, { hostFiles: false });
  try {
    await fill(snapshots.diffDirectory(key));
    const layer = await snapshots.commit(key);
    hold.add(layer?.chainId);
    return layer;
  } catch (error) {
    await snapshots.remove(key);
    throw error;
  }
}
