import { availableParallelism } from "node:os";
import { EngineError } from "../common/index.ts";

/**
 * Commands and copies that run at once, over all builds: more than there are cores, since many a RUN waits for the network, and
 * not without end.
 */
export const maxParallelOperations = Math.max(4, 2 * availableParallelism());

/** A number of places; who finds none waits in line. */
export class Slots {
  #free: number;
  readonly #line: (() => void)[] = [];

  constructor(count: number) {
    this.#free = count;
  }

  /** Dispose it to give the place back. Throws cancelled when the signal comes first. */
  async take(signal: AbortSignal): Promise<Disposable> {
    if (this.#free > 0) this.#free--;
    else await this.#wait(signal);
    return {
      [Symbol.dispose]: () => {
        const next = this.#line.shift();
        if (next) next();
        else this.#free++;
      },
    };
  }

  #wait(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        const at = this.#line.indexOf(enter);
        if (at >= 0) this.#line.splice(at, 1);
        reject(new EngineError("cancelled", "Build cancelled"));
      };
      const enter = (): void => {
        signal.removeEventListener("abort", leave);
        resolve();
      };
      if (signal.aborted) return reject(new EngineError("cancelled", "Build cancelled"));
      signal.addEventListener("abort", leave, { once: true });
      this.#line.push(enter);
    });
  }
}
