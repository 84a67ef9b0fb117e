import type { Layer, Snapshotter } from "../snapshot/index.ts";

/** Keeps layers for as long as it is not disposed. */
export interface LayerHold extends Disposable {
  /** Adds a layer, and so those below it; undefined is an image without layers. */
  add(chainId: string | undefined): void;
}

/** The layers that work in progress needs, which no record names yet. They live in memory: a dead engine works on nothing. */
export class LayerHolds {
  readonly #live = new Set<{ purpose: string; chainIds: Set<string> }>();
  readonly #snapshots: Snapshotter;
  readonly #startedAt = Date.now();
  readonly #letGo = new Set<string>();
  readonly #lasting: (() => Iterable<string>)[] = [];

  constructor(snapshots: Snapshotter) {
    this.#snapshots = snapshots;
  }

  hold(purpose: string): LayerHold {
    const entry = { purpose, chainIds: new Set<string>() };
    this.#live.add(entry);
    return {
      add: (chainId) => {
        if (chainId !== undefined) entry.chainIds.add(chainId);
      },
      [Symbol.dispose]: () => void this.#live.delete(entry),
    };
  }

  /** Keeps, for good, the layers that a record of another room names: asked anew each time. */
  keepAlso(tops: () => Iterable<string>): void {
    this.#lasting.push(tops);
  }

  /** Says of layers that the image which named them is gone. */
  letGo(chainIds: readonly string[]): void {
    for (const chainId of chainIds) this.#letGo.add(chainId);
  }

  /**
   * Whether a layer that no image names is a leftover: of before this engine's start, or of a removed image. Another may have
   * been made a moment ago for an image to come.
   */
  isLeftover(layer: Layer): boolean {
    return this.#letGo.has(layer.chainId) || Date.parse(layer.createdAt) < this.#startedAt;
  }

  /** Whether any work is going on at all. */
  get any(): boolean {
    return this.#live.size > 0;
  }

  /** Every held layer with those below it. */
  chainIds(): Set<string> {
    const held = new Set<string>();
    const add = (chainId: string): void => {
      if (held.has(chainId)) return;
      held.add(chainId);
      if (this.#snapshots.layer(chainId)) for (const layer of this.#snapshots.chain(chainId)) held.add(layer.chainId);
    };
    for (const { chainIds } of this.#live) for (const chainId of chainIds) add(chainId);
    for (const tops of this.#lasting) for (const chainId of tops()) add(chainId);
    return held;
  }
}
