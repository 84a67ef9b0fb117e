// The other side of `unpackLayer`: `vitrine unpack-layer`, for the engine alone. The archive is descriptor 3.
import { toEngineError } from "../common/index.ts";
import { GrowingFile } from "./growing-file.ts";
import { LayerArchive } from "./layer-archive.ts";
import { unpackHere, type UnpackedLayer } from "./unpack-layer.ts";

/** The first line of its input; each one after it says how many bytes of the archive are there. */
export interface UnpackOrder {
  readonly directory: string;
  readonly stacked: boolean;
  readonly sizeBytes: number;
}

/** Its output. */
export type UnpackReport =
  | { readonly unpacked: UnpackedLayer }
  | { readonly error: { code: string; message: string; data: Record<string, unknown> } };

/** Ends without a report when its input does: then the engine is gone, or has given up. */
export async function runUnpackLayer(): Promise<void> {
  let file: GrowingFile | undefined;
  for await (const line of console) {
    if (file) file.grew(Number(line));
    else {
      const order = JSON.parse(line) as UnpackOrder;
      file = new GrowingFile("/proc/self/fd/3", order);
      void unpack(file, order).then((report) => process.stdout.write(JSON.stringify(report), () => process.exit(0)));
    }
  }
  process.exit(1);
}

async function unpack(file: GrowingFile, { directory, stacked }: UnpackOrder): Promise<UnpackReport> {
  try {
    return { unpacked: await unpackHere(new LayerArchive(file), directory, { stacked }) };
  } catch (thrown) {
    const { code, message, data } = toEngineError(thrown);
    return { error: { code, message, data } };
  }
}
