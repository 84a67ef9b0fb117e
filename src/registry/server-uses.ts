import type { RegistryRecords } from "./server-records.ts";

const writeEveryMs = 10_000;

/**
 * When tags and manifests were last asked for, which retention and the expiry of a cache go by. Kept in memory and written every ten
 * seconds, since a pull should not wait for the disk: a server that is killed forgets the last seconds.
 */
export class Uses implements Disposable {
  readonly #unwritten = new Map<string, { repository: string; name: string; usedAtMs: number }>();
  readonly #timer: ReturnType<typeof setInterval>;

  constructor(private readonly records: RegistryRecords) {
    this.#timer = setInterval(() => {
      try {
        this.write();
      } catch {
        // The disk is full, or another process is at the records: they are kept for the next time.
      }
    }, writeEveryMs);
    this.#timer.unref();
  }

  /** `name` is a tag or a manifest's digest. */
  mark(repository: string, name: string): void {
    this.#unwritten.set(`${repository} ${name}`, { repository, name, usedAtMs: Date.now() });
  }

  write(): void {
    if (this.#unwritten.size === 0) return;
    this.records.addUses(this.#unwritten.values());
    this.#unwritten.clear();
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.write();
  }
}
