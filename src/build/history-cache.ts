import type { ImageRecord } from "../image/index.ts";
import type { HistoryEntry } from "../spec/index.ts";
import type { OperationId } from "./operation.ts";

/** Where a stage stands: what its history says so far, and its layers' top. */
interface Place {
  readonly history: readonly HistoryEntry[];
  readonly top: string | undefined;
}

/** What an image has where a step of the same words stands. */
export interface HistoryMatch {
  readonly image: ImageRecord;
  readonly entry: HistoryEntry;
  readonly top: string | undefined;
  /** Whether the image ends with it. */
  readonly isLast: boolean;
}

/**
 * Images as a cache, as Docker's classic builder has it (`--cache-from IMAGE`): a step is an image's when the image begins with the same
 * layers, its history with the same entries, and the next one says the step's own command.
 */
export class HistoryCache {
  readonly #awaited = new Map<OperationId, { place: Place; words: (digests: readonly string[]) => string }>();

  constructor(readonly images: readonly ImageRecord[]) {}

  /** Says where an operation will stand, before it is asked for. */
  await(id: OperationId, place: Place, words: (digests: readonly string[]) => string): void {
    if (this.images.length > 0) this.#awaited.set(id, { place, words });
  }

  /** What an image has in place of an operation that takes files with these digests. */
  find(id: OperationId, digests: readonly string[]): HistoryMatch | undefined {
    const awaited = this.#awaited.get(id);
    return awaited && this.match(awaited.place, awaited.words(digests));
  }

  match({ history, top }: Place, words: string): HistoryMatch | undefined {
    for (const image of this.images) {
      const said = image.config.history ?? [];
      const entry = said[history.length];
      if (entry?.created_by !== words) continue;
      if (history.some((one, index) => one.created_by !== said[index]?.created_by)) continue;
      const below = said.slice(0, history.length).filter(({ empty_layer }) => empty_layer !== true).length;
      if (image.layers[below - 1]?.chainId !== top) continue;
      const next = entry.empty_layer === true ? top : image.layers[below]?.chainId;
      return { image, entry, top: next, isLast: said.length === history.length + 1 };
    }
    return undefined;
  }
}
