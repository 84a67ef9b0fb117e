import { EngineError } from "../common/index.ts";

/** A process in an uninterruptible wait cannot be frozen; longer than this nobody wants to wait for it. */
const freezeLimitMs = 2000;

/** Waits until a freezer says it is done; after the limit it is thawed again, and the failure is `unavailable`. */
export async function waitForFreezer(
  path: string,
  freezer: { isDone: () => boolean; again: () => void; undo: () => void },
): Promise<void> {
  const deadline = performance.now() + freezeLimitMs;
  for (let pauseMs = 1; !freezer.isDone(); pauseMs = Math.min(pauseMs * 2, 50)) {
    if (performance.now() > deadline) {
      freezer.undo();
      throw new EngineError(
        "unavailable",
        `Cannot freeze the control group "${path}": a process did not stop within ${freezeLimitMs} ms`,
      );
    }
    await Bun.sleep(pauseMs);
    if (!freezer.isDone()) freezer.again();
  }
}
