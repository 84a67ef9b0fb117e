import { afterAll, beforeAll } from "bun:test";
import { mkdirSync } from "node:fs";
import { importBusybox } from "./busybox-image.ts";
import { execContainer, startContainer } from "./engine-containers.ts";
import { settledTraces, tracesOf } from "./engine-traces.ts";
import { RegistryFixture } from "./registry-fixture.ts";
import { newTravellingImage, storeActions, type StoreAction, type TravellingImage } from "./store-actions.ts";
import { TestEngine, waitFor } from "./test-engine.ts";

export interface StoreEngine {
  readonly engine: TestEngine;
  readonly before: string[];
  image(): TravellingImage;
  action(name: string): StoreAction;
}

/**
 * An engine with a running container of changes, and a registry, from before the first test of this file until after its last. `root`:
 * makes its root's file system; the driver is what the root has layers of from then on.
 */
export function storeEngine(options: { driver?: string; root?: (path: string) => void } = {}): StoreEngine {
  const engine = new TestEngine();
  const before: string[] = [];
  let container = "";
  let registry: RegistryFixture | undefined;
  let image: TravellingImage | undefined;
  let actions: StoreAction[] = [];
  beforeAll(async () => {
    registry = await RegistryFixture.start();
    image = await newTravellingImage(registry);
    actions = storeActions(registry, image, () => container);
    mkdirSync(engine.root);
    options.root?.(engine.root);
    await engine.start(options.driver === undefined ? [] : ["--storage-driver", options.driver]);
    await importBusybox(engine);
    await settledTraces(engine);
    container = await startContainer(
      engine,
      "mkdir -p /a/b; for n in 1 2 3 4 5 6 7 8; do echo $n > /a/b/$n; done; sleep 1000000",
    );
    await waitFor("the files", async () => (await execContainer(engine, container, ["ls", "/a/b/8"])).exitCode === 0);
    await engine.stop("SIGKILL");
    await engine.start();
    await waitFor("a prepared namespace", () => tracesOf(engine).includes("mount /run/netns/*"));
    before.push(...tracesOf(engine));
  });
  afterAll(async () => {
    await engine[Symbol.asyncDispose]();
    await registry?.[Symbol.asyncDispose]();
  });
  return {
    engine,
    before,
    image: () => image as TravellingImage,
    action(name) {
      const found = actions.find((one) => one.name === name);
      if (!found) throw new Error(`No action is called ${name}`);
      return found;
    },
  };
}
