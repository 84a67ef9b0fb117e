// Large layers are unpacked by a process of their own, several at once: the engine's loop stays free, and so does its memory.
import { applyLayer, type AppliedLayer, type ApplyOptions } from "./apply-layer.ts";
import { boundedPlain } from "./bounded-plain.ts";
import { hashingStream } from "./hashing.ts";
import { LayerArchive } from "./layer-archive.ts";
import { processTurn } from "./process-turn.ts";
import { UnpackProcess } from "./unpack-process.ts";

/** A smaller archive is unpacked sooner than a process starts. */
const ownProcessBytes = 1024 * 1024;

export interface UnpackedLayer extends AppliedLayer {
  /** sha256 of the plain archive. */
  readonly diffId: string;
  /** Length of the plain archive. */
  readonly archiveBytes: number;
}

/** As `applyLayer`, and says what the archive was. Takes a plain stream, or a `LayerArchive`. */
export async function unpackLayer(
  tar: AsyncIterable<Uint8Array>,
  directory: string,
  options: Pick<ApplyOptions, "stacked"> = {},
): Promise<UnpackedLayer> {
  if (!(tar instanceof LayerArchive)) return unpackHere(tar, directory, options);
  const { stacked = false } = options;
  const unpacked = await (tar.file.sizeBytes >= ownProcessBytes
    ? unpackElsewhere(tar, { directory, stacked })
    : unpackHere(tar, directory, options));
  tar.plainBytes = unpacked.archiveBytes;
  return unpacked;
}

/** As `unpackLayer`, in this process. */
export async function unpackHere(
  tar: AsyncIterable<Uint8Array>,
  directory: string,
  options: Pick<ApplyOptions, "stacked"> = {},
): Promise<UnpackedLayer> {
  const plain = tar instanceof LayerArchive ? boundedPlain(tar, { compressedBytes: tar.file.sizeBytes }) : tar;
  const hashed = hashingStream(plain);
  const applied = await applyLayer(hashed.stream, directory, options);
  return { ...applied, diffId: hashed.digest(), archiveBytes: hashed.size() };
}

async function unpackElsewhere(
  archive: LayerArchive,
  order: { directory: string; stacked: boolean },
): Promise<UnpackedLayer> {
  using _turn = await processTurn();
  const process = UnpackProcess.take();
  const unpacked = await process.unpack(archive, order);
  process.release();
  return unpacked;
}
