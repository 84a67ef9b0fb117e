/** What one member of a compressed layer holds before compression: the same everywhere, so that the same layer gives the same bytes. */
export const gzipBlockBytes = 1024 * 1024;
/** libdeflate's 4 takes two thirds of the time of zlib's 6, for layers that are one hundredth larger. */
const level = 4;

/** One member (RFC 1952), without time or name. Blocks for some 15 ms. */
export function gzipBlock(plain: Uint8Array<ArrayBuffer>): Uint8Array {
  return Bun.gzipSync(plain, { library: "libdeflate", level });
}
