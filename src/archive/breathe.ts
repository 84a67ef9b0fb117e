const sliceMs = 8;
let sliceStart = performance.now();

/**
 * Lets timers and sockets have their turn when the present stretch of synchronous file work has lasted long enough. Awaiting
 * a stream whose bytes are there already never leaves the microtask queue.
 */
export async function breathe(): Promise<void> {
  if (performance.now() - sliceStart < sliceMs) return;
  await new Promise<void>((resolve) => setImmediate(resolve));
  sliceStart = performance.now();
}
