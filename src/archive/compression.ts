import { Readable, pipeline, type Transform } from "node:stream";
import { createGunzip, createZstdCompress } from "node:zlib";
import { EngineError } from "../common/index.ts";
import { decompressByProgram } from "./decompress-by-program.ts";
import { gzipLayer } from "./gzip-layer.ts";

export type Compression = "gzip" | "zstd" | "bzip2" | "xz" | "none";

const magics: readonly (readonly [Compression, readonly number[]])[] = [
  ["gzip", [0x1f, 0x8b, 0x08]],
  ["zstd", [0x28, 0xb5, 0x2f, 0xfd]],
  ["bzip2", [0x42, 0x5a, 0x68]],
  ["xz", [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
];

/** Enough of a stream to tell. */
const magicBytes = 8;
const chunkSize = 1024 * 1024;

/** Which compression the first bytes of a stream announce. A zstd stream may begin with a skippable frame (RFC 8878). */
export function detectCompression(firstBytes: Uint8Array): Compression {
  const skippable =
    ((firstBytes[0] ?? 0) & 0xf0) === 0x50 && [0x2a, 0x4d, 0x18].every((byte, at) => firstBytes[at + 1] === byte);
  if (skippable) return "zstd";
  return magics.find(([, magic]) => magic.every((byte, at) => firstBytes[at] === byte))?.[0] ?? "none";
}

/**
 * The plain bytes of a stream in any of these compressions or none; several members or frames in a row are one. Throws
 * `unavailable` for bzip2 and xz where their programs are not installed, `invalidArgument` for a stream that is damaged or ends early.
 */
export async function* decompress(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const iterator = source[Symbol.asyncIterator]();
  const held: Uint8Array[] = [];
  let length = 0;
  while (length < magicBytes) {
    const { done, value } = await iterator.next();
    if (done === true) break;
    held.push(value);
    length += value.length;
  }
  const first = Buffer.concat(held);
  const kind = detectCompression(first);
  const whole = rejoin(first, iterator);
  if (kind === "none") yield* whole;
  else if (kind === "gzip") yield* through(whole, createGunzip({ chunkSize }), kind);
  else if (kind === "zstd") yield* unzstd(whole);
  else yield* decompressByProgram(whole, kind);
}

async function* rejoin(first: Uint8Array, rest: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    if (first.length > 0) yield first;
    for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value;
  } finally {
    await rest.return?.();
  }
}

/** Runs a stream through a transform whose errors are the data's; the source's own errors pass unchanged. */
async function* through(
  source: AsyncIterable<Uint8Array>,
  transform: Transform,
  kind: string,
): AsyncGenerator<Uint8Array> {
  let sourceError: unknown;
  const watched = (async function* () {
    try {
      yield* source;
    } catch (error) {
      sourceError = error;
      throw error;
    }
  })();
  pipeline(Readable.from(watched, { objectMode: false }), transform, () => {});
  try {
    for await (const chunk of transform) yield chunk as Uint8Array;
  } catch (error) {
    if (sourceError !== undefined) throw sourceError;
    throw damaged(kind, error);
  } finally {
    transform.destroy();
  }
}

/** node:zlib accepts a zstd stream that was cut off; the web stream does not. */
async function* unzstd(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const iterator = source[Symbol.asyncIterator]();
  let sourceError: unknown;
  const input = new ReadableStream<Uint8Array<ArrayBuffer>>({
    async pull(controller) {
      try {
        const { done, value } = await iterator.next();
        if (done === true) controller.close();
        else controller.enqueue(value as Uint8Array<ArrayBuffer>);
      } catch (error) {
        sourceError = error;
        controller.error(error);
      }
    },
    async cancel() {
      await iterator.return?.();
    },
  });
  // "zstd" is Bun's addition to the standard's names.
  const plain = input.pipeThrough(new DecompressionStream("zstd" as unknown as "gzip"));
  try {
    for await (const chunk of plain) yield chunk as Uint8Array;
  } catch (error) {
    if (sourceError !== undefined) throw sourceError;
    throw damaged("zstd", error);
  }
}

function damaged(kind: string, error: unknown): EngineError {
  const cause = error instanceof Error ? error.message : String(error);
  return new EngineError("invalidArgument", `Cannot decompress the archive: its ${kind} stream is damaged (${cause})`, {
    cause: error,
  });
}

/** Compresses a stream; see `gzipLayer` for layers. */
export function compress(source: AsyncIterable<Uint8Array>, kind: "gzip" | "zstd" | "none"): AsyncIterable<Uint8Array> {
  if (kind === "none") return source;
  return kind === "gzip" ? gzipLayer(source) : through(source, createZstdCompress({ chunkSize }), kind);
}
