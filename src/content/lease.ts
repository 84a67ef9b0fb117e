/**
 * Keeps blobs from being collected while something is made of them that is not recorded yet. It lives in memory: when the
 * engine dies, so do its leases. `using lease = content.lease("pull busybox")`.
 */
export class Lease implements Disposable {
  readonly #held: Map<string, number>;
  readonly #digests = new Set<string>();
  #released = false;

  constructor(
    readonly purpose: string,
    held: Map<string, number>,
  ) {
    this.#held = held;
  }

  /** Holds a digest, whether or not its blob is there yet. */
  add(digest: string): void {
    if (this.#released) throw new Error(`The lease "${this.purpose}" is released and cannot hold ${digest}`);
    if (this.#digests.has(digest)) return;
    this.#digests.add(digest);
    this.#held.set(digest, (this.#held.get(digest) ?? 0) + 1);
  }

  [Symbol.dispose](): void {
    if (this.#released) return;
    this.#released = true;
    for (const digest of this.#digests) {
      const left = (this.#held.get(digest) ?? 1) - 1;
      if (left === 0) this.#held.delete(digest);
      else this.#held.set(digest, left);
    }
  }
}
