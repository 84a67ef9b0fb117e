import type { DigestMemory, Remembered } from "./source-tree.ts";

/** Folders whose digests are remembered; the one that was used longest ago goes first. */
const maxStates = 16;
const maxPaths = 256;
/** Of a folder's single files no more than this many are remembered beside its own digest. */
const maxEntries = 2000;

/**
 * Digests of what clients' folders hold, by the name of their state, for as long as the engine lives: a folder that did not change between
 * two builds is not read again.
 */
export class KeptDigests {
  readonly #states = new Map<string, Map<string, Remembered>>();

  of(state: string): DigestMemory {
    const paths = this.#states.get(state) ?? new Map<string, Remembered>();
    this.#states.delete(state);
    this.#states.set(state, paths);
    for (const oldest of this.#states.keys()) {
      if (this.#states.size <= maxStates) break;
      this.#states.delete(oldest);
    }
    return {
      get: (path) => paths.get(path),
      set: (path, { digest, entries }) => {
        if (paths.size >= maxPaths) return;
        paths.set(path, { digest, ...(entries ? { entries: entries.slice(0, maxEntries) } : {}) });
      },
    };
  }
}
