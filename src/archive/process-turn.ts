// Processes that unpack and compress share the processors: as many at once as there are.
import { cpus } from "node:os";

const maxProcesses = Math.max(2, cpus().length);
const waiting: (() => void)[] = [];
let running = 0;

/** Waits until another process may run; disposal lets the next one. */
export async function processTurn(): Promise<Disposable> {
  if (running < maxProcesses) running++;
  else await new Promise<void>((resolve) => waiting.push(resolve));
  return {
    [Symbol.dispose]() {
      const next = waiting.shift();
      if (next) next();
      else running--;
    },
  };
}
