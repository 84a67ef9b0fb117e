import { expect } from "bun:test";
import { ask } from "./engine-containers.ts";
import { expectTraces } from "./engine-traces.ts";
import { killDaemonAt, type Moment } from "./kill-at.ts";
import { expectWhole, isThere, type StoreAction, type TravellingImage } from "./store-actions.ts";
import { storeProblems } from "./store-problems.ts";
import { waitFor, type TestEngine } from "./test-engine.ts";

export interface StoreKill {
  readonly engine: TestEngine;
  readonly action: StoreAction;
  readonly moment: Moment;
  readonly image: TravellingImage;
  /** `settledTraces` before the first of them. */
  readonly before: readonly string[];
}

/**
 * Kills the daemon at a moment of the action and starts it again: the store is sound, an image that is listed is whole, the action done again
 * succeeds, and undone leaves the machine as it was. False when the moment never came: then the same is asked of the action that ended.
 */
export async function surviveStoreKill({ engine, action, moment, image, before }: StoreKill): Promise<boolean> {
  await action.begin(engine);
  const killed = await killDaemonAt(engine, moment, () => action.act(engine));
  if (killed) {
    await engine.stop("SIGKILL");
    await engine.start();
    await expectSound(engine, { resumable: action.name === "pull" });
    if (await isThere(engine, image.reference)) await expectWhole(engine, image);
    await action.act(engine);
  }
  await action.expectDone(engine);
  await expectSound(engine);
  await action.undo(engine);
  await expectTraces(engine, before);
  await expectSound(engine);
  return killed;
}

/** What is left over goes in the background. */
async function expectSound(engine: TestEngine, options: { resumable?: boolean } = {}): Promise<void> {
  let problems: string[] = [];
  await waitFor(
    "the store to be sound",
    () => (problems = storeProblems(engine.root, options)).length === 0,
    8000,
  ).catch(() => {});
  expect(problems).toEqual([]);
  // The engine's own look, which compares every layer with its archive or its digest, finds no more.
  expect((await ask<{ Findings: unknown[] }>(engine, "POST", "/vitrine/system/check")).Findings).toEqual([]);
}
