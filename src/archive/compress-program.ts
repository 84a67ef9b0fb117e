// The other side of `gzipLayer`: `vitrine compress-layer`, for the engine alone. Plain bytes in, gzip out.
import { readSync, writeSync } from "node:fs";
import { gzipBlock, gzipBlockBytes } from "./gzip-block.ts";

const inputFd = 0;
const outputFd = 1;
/** Its exit code when the plain bytes are not those of the digest that it was given. */
export const otherBytesExitCode = 3;

/** Ends with the process. `digest`: what the plain bytes must be, `sha256:…`. */
export function runCompressLayer(digest: string | undefined): never {
  const block = new Uint8Array(gzipBlockBytes);
  const hasher = digest === undefined ? undefined : new Bun.CryptoHasher("sha256");
  for (let isFirst = true; ; isFirst = false) {
    const filled = fill(block);
    if (filled === 0 && !isFirst) break;
    const plain = block.subarray(0, filled);
    hasher?.update(plain);
    writeAll(gzipBlock(plain));
    if (filled < block.length) break;
  }
  process.exit(hasher && `sha256:${hasher.digest("hex")}` !== digest ? otherBytesExitCode : 0);
}

/** As much as there is of a block. */
function fill(block: Uint8Array): number {
  let filled = 0;
  while (filled < block.length) {
    const read = patiently(() => readSync(inputFd, block, filled, block.length - filled, null));
    if (read === 0) break;
    filled += read;
  }
  return filled;
}

function writeAll(bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) at += patiently(() => writeSync(outputFd, bytes, at));
}

/** The other end may have made the pipe one that does not wait. */
function patiently(call: () => number): number {
  for (;;) {
    try {
      return call();
    } catch (error) {
      if ((error as { code?: string }).code !== "EAGAIN") throw error;
      Bun.sleepSync(1);
    }
  }
}
