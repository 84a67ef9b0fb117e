import { LayerArchive, type GrowingFile } from "../archive/index.ts";
import { EngineError } from "../common/index.ts";
import type { Layer, ParentLayer } from "../snapshot/index.ts";
import type { ImageServices } from "./image-record.ts";

/** A smaller one is unpacked soon enough when the archive is whole. */
const leastBytes = 1024 * 1024;

interface EarlyLayer {
  readonly archive: LayerArchive;
  readonly parent: PromiseWithResolvers<string | undefined>;
  readonly layer: Promise<Layer>;
  /** When others may be put on it. */
  readonly placed: Promise<void>;
}

/** What an image archive's large members would be as layers, unpacked while they come, before anything says what stands on what. */
export class EarlyLayers implements AsyncDisposable {
  readonly #services: ImageServices;
  readonly #stop = new AbortController();
  readonly #byDigest = new Map<string, EarlyLayer>();
  readonly #all: EarlyLayer[] = [];

  constructor(services: ImageServices) {
    this.#services = services;
  }

  /** Whether a member is worth it; `digest` as far as its name says it. */
  wants({ sizeBytes, digest }: { sizeBytes: number; digest: string | undefined }): boolean {
    if (sizeBytes < leastBytes) return false;
    return digest === undefined || !this.#services.snapshots.layers().some(({ diffId }) => diffId === digest);
  }

  /** Begins; the answer is to be called with the member's digest once that is known. */
  begin(file: GrowingFile): (digest: string) => void {
    const archive = new LayerArchive(file, { signal: this.#stop.signal });
    const parent = Promise.withResolvers<string | undefined>();
    parent.promise.catch(() => {});
    const placed = Promise.withResolvers<void>();
    const onPlaced = (): void => placed.resolve();
    const layer = this.#services.snapshots.apply(parent.promise, archive, { onPlaced });
    // What is no layer fails here, and nobody asks for it.
    layer.catch(() => {});
    const early = { archive, parent, layer, placed: placed.promise };
    this.#all.push(early);
    return (digest) => {
      if (!this.#byDigest.has(digest)) this.#byDigest.set(digest, early);
    };
  }

  /** Puts the member on a parent, once; undefined where it was not begun or is taken. */
  take(digest: string, parent: ParentLayer): Omit<EarlyLayer, "parent"> | undefined {
    const early = this.#byDigest.get(digest);
    if (!early) return undefined;
    this.#byDigest.delete(digest);
    early.parent.resolve(parent);
    return early;
  }

  /** Ends what nobody took. */
  async [Symbol.asyncDispose](): Promise<void> {
    const reason = new EngineError("cancelled", "The archive's member is no layer that an image needs");
    this.#stop.abort(reason);
    for (const { parent } of this.#all) parent.reject(reason);
    await Promise.allSettled(this.#all.map(({ layer }) => layer));
  }
}
