import { EngineError } from "../common/index.ts";

/** What an archive may grow to: so many bytes in any case, and beyond them so many times its compressed size. */
const allowanceBytes = 4 * 1024 ** 3;
const maxRatio = 128;

/** Passes a decompressed archive through, and refuses one that grows beyond measure. */
export async function* boundedPlain(
  plain: AsyncIterable<Uint8Array>,
  { compressedBytes, allowance = allowanceBytes }: { compressedBytes: number; allowance?: number },
): AsyncGenerator<Uint8Array> {
  const mostBytes = allowance + maxRatio * compressedBytes;
  let sizeBytes = 0;
  for await (const chunk of plain) {
    sizeBytes += chunk.length;
    if (sizeBytes > mostBytes) {
      throw new EngineError(
        "resourceExhausted",
        `The archive's ${compressedBytes} bytes unpack to more than ${mostBytes}, and so much is refused`,
      );
    }
    yield chunk;
  }
}
