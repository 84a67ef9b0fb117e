import { decompress, detectCompression, type Compression } from "../archive/index.ts";
import { EngineError } from "../common/index.ts";
import { readDescriptor } from "./source-tree.ts";

const blockBytes = 512;

/**
 * How a local file that ADD names is compressed if it is a tar archive; undefined for any other file. A file in a
 * compression whose program is not installed is refused by name: it may be either.
 */
export async function archiveKind(fd: number, path: string): Promise<Compression | undefined> {
  const kind = detectCompression(await firstBytes(readDescriptor(fd)));
  try {
    return isTarHeader(await firstBytes(decompress(readDescriptor(fd)))) ? kind : undefined;
  } catch (error) {
    if (error instanceof EngineError && error.code === "unavailable") {
      throw new EngineError(error.code, `ADD failed: "${path}": ${error.message}`, { cause: error });
    }
    // Something that only begins like a compressed stream is an ordinary file.
    return undefined;
  }
}

async function firstBytes(source: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of source) {
    parts.push(Uint8Array.from(chunk.subarray(0, blockBytes)));
    length += chunk.length;
    if (length >= blockBytes) break;
  }
  return Buffer.concat(parts).subarray(0, blockBytes);
}

/** The checksum of a header block (pax(1), ustar): the sum of its bytes with the checksum's own as blanks. */
function isTarHeader(block: Uint8Array): boolean {
  if (block.length < blockBytes || block[0] === 0) return false;
  const written = Number.parseInt(
    Buffer.from(block.subarray(148, 156)).toString("latin1").replaceAll("\0", " ").trim(),
    8,
  );
  let sum = 0;
  for (const [index, byte] of block.entries()) sum += index >= 148 && index < 156 ? 0x20 : byte;
  return sum === written;
}
