import { afterAll, beforeAll } from "bun:test";
import { importBusybox } from "./busybox-image.ts";
import { expectTraces, settledTraces } from "./engine-traces.ts";
import { TestEngine } from "./test-engine.ts";

/** An engine with the image "busybox", from before the first test of this file until after its last. `addTo` may add files to the image. */
export function busyboxEngine(addTo?: (root: string) => void): TestEngine {
  return engineOfFile({ addTo });
}

/** As `busyboxEngine`; `before` are the traces that it has without a container (`settledTraces`), once the tests run. */
export function settledEngine(): { readonly engine: TestEngine; readonly before: readonly string[] } {
  const before: string[] = [];
  const engine = engineOfFile({ first: async (started) => void before.push(...(await settledTraces(started))) });
  return { engine, before };
}

/** As `busyboxEngine`, and after the last test nothing that the tests made may be left. */
export function engineLeftAsItWas(): TestEngine {
  let before: string[] = [];
  return engineOfFile({
    first: async (engine) => void (before = await settledTraces(engine)),
    last: (engine) => expectTraces(engine, before),
  });
}

function engineOfFile(options: {
  addTo?: ((root: string) => void) | undefined;
  first?: (engine: TestEngine) => Promise<void>;
  last?: (engine: TestEngine) => Promise<void>;
}): TestEngine {
  const engine = new TestEngine();
  beforeAll(async () => {
    await engine.start();
    await importBusybox(engine, "busybox", options.addTo);
    await options.first?.(engine);
  });
  afterAll(async () => {
    try {
      await options.last?.(engine);
    } finally {
      await engine[Symbol.asyncDispose]();
    }
  });
  return engine;
}
