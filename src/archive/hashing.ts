/**
 * Passes a stream through and remembers what went by. `digest()` is `sha256:…` and `size()` the bytes so far; ask once the
 * stream has ended.
 */
export function hashingStream(source: AsyncIterable<Uint8Array>): {
  stream: AsyncIterable<Uint8Array>;
  digest(): string;
  size(): number;
} {
  const hasher = new Bun.CryptoHasher("sha256");
  let size = 0;
  let digest: string | undefined;
  async function* pass(): AsyncGenerator<Uint8Array> {
    for await (const chunk of source) {
      hasher.update(chunk);
      size += chunk.length;
      yield chunk;
    }
  }
  return {
    stream: pass(),
    // A hasher gives its digest once.
    digest: () => (digest ??= `sha256:${hasher.digest("hex")}`),
    size: () => size,
  };
}
