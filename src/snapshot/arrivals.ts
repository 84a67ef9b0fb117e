import { EngineError } from "../common/index.ts";
import { chainIdOf } from "./chain-id.ts";
import type { ExpectedLayer, Layer, ParentLayer } from "./snapshotter.ts";

interface Arrival {
  readonly parent: ParentLayer;
  readonly tar: AsyncIterable<Uint8Array>;
  readonly expected: ExpectedLayer;
}

/** Layers on their way, by chainID, so that two pulls of one image unpack it once. */
export class Arrivals {
  readonly #present: (chainId: string) => Layer | undefined;
  readonly #running = new Map<string, Promise<Layer>>();

  constructor(present: (chainId: string) => Layer | undefined) {
    this.#present = present;
  }

  /** What is here, or on its way; else what `make` makes. The archive is closed when it is not needed. */
  async once({ parent, tar, expected }: Arrival, make: () => Promise<Layer>): Promise<Layer> {
    // Whoever gets to wait for it is told of its rejection.
    if (parent instanceof Promise) parent.catch(() => {});
    const chainId = chainIdIn(parent, expected);
    if (chainId === undefined) return make();
    const known = this.#present(chainId) ?? this.#running.get(chainId);
    if (known) {
      await tar[Symbol.asyncIterator]().return?.();
      return known;
    }
    const work = make().finally(() => this.#running.delete(chainId));
    this.#running.set(chainId, work);
    return work;
  }
}

function chainIdIn(parent: ParentLayer, { diffId, chainId }: ExpectedLayer): string | undefined {
  if (chainId !== undefined || diffId === undefined || parent instanceof Promise) return chainId;
  return chainIdOf(parent, diffId);
}

export function requireDiffId(found: string, { diffId = found }: ExpectedLayer): void {
  if (found === diffId) return;
  throw new EngineError("invalidArgument", `The layer should be "${diffId}" and is "${found}"`);
}

export function requireChainId(found: string, { chainId = found }: ExpectedLayer): void {
  if (found === chainId) return;
  throw new EngineError("invalidArgument", `The chain should be "${chainId}" and is "${found}"`);
}
