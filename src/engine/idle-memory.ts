const lookEveryMs = 30_000;
/** An engine that is asked for nothing spends some milliseconds on its timers in that time. */
const busyMs = 200;

/** Tells from the processor time spent between two looks when work is over. */
export class RestDetector {
  #last = 0;
  #worked = false;

  /** True once after each time of work, at the first look that finds the engine at rest. `spentMs`: in all, since it began. */
  look(spentMs: number): boolean {
    const isBusy = spentMs - this.#last > busyMs;
    this.#last = spentMs;
    const isOver = this.#worked && !isBusy;
    this.#worked = isBusy;
    return isOver;
  }

  /** What was spent up to now on giving memory back is no work. */
  ignore(spentMs: number): void {
    this.#last = spentMs;
  }
}

/**
 * Gives the memory of work that is over back to the kernel. After half a minute's rest, not at once: compiled code goes too, so
 * that the next request is slower than one of a warm engine by some ten milliseconds.
 */
export function watchIdleMemory(): Disposable {
  const rest = new RestDetector();
  const timer = setInterval(() => {
    if (!rest.look(processorMs())) return;
    Bun.gc(true);
    Bun.shrink();
    rest.ignore(processorMs());
  }, lookEveryMs);
  timer.unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

function processorMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}
