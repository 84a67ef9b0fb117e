// The other side of `unpackLayer`: `vitrine unpack-layer`, for the engine alone.
import { toEngineError } from "../common/index.ts";
import { GrowingFile } from "./growing-file.ts";
import { LayerArchive } from "./layer-archive.ts";
import { unpackHere, type UnpackedLayer } from "./unpack-layer.ts";

/** A line of its input; each one after it, up to the report, says how many bytes of the archive are there. */
export interface UnpackOrder {
  /** A path that leads to the file whatever becomes of its name. */
  readonly archive: string;
  readonly directory: string;
  readonly stacked: boolean;
  readonly sizeBytes: number;
}

/** A line of its output, one an order. */
export type UnpackReport =
  | { readonly unpacked: UnpackedLayer }
  | { readonly error: { code: string; message: string; data: Record<string, unknown> } };

/** Ends when its input does: then the engine is gone, or needs it no more. */
export async function runUnpackLayer(): Promise<void> {
  let file: GrowingFile | undefined;
  for await (const line of console) {
    if (!line.startsWith("{")) {
      file?.grew(Number(line));
      continue;
    }
    const order = JSON.parse(line) as UnpackOrder;
    file = new GrowingFile(order.archive, order);
    void unpack(file, order).then((report) => process.stdout.write(`${JSON.stringify(report)}\n`));
  }
  process.exit(0);
}

async function unpack(file: GrowingFile, { directory, stacked }: UnpackOrder): Promise<UnpackReport> {
  try {
    return { unpacked: await unpackHere(new LayerArchive(file), directory, { stacked }) };
  } catch (thrown) {
    const { code, message, data } = toEngineError(thrown);
    return { error: { code, message, data } };
  }
}
