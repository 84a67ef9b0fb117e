// SIGKILL to the daemon at chosen steps of all that changes the store of images; test/long goes through many more.
import { expect, setDefaultTimeout, test } from "bun:test";
import type { Moment } from "../support/kill-at.ts";
import { storeEngine } from "../support/store-engine.ts";
import { surviveStoreKill } from "../support/survive-store-kill.ts";

setDefaultTimeout(60_000);

const { engine, before, image, action } = storeEngine();

const moments: readonly [name: string, moment: Moment][] = [
  ["load", { call: "symlink", count: 1 }],
  ["load", { call: "rename", count: 1 }],
  ["load", { call: "pwrite64", count: 9 }],
  ["push", { call: "pwrite64", count: 2 }],
  ["push", { call: "rename", count: 1 }],
  ["rmi", { call: "pwrite64", count: 2 }],
  ["rmi", { call: "rename", count: 1 }],
  ["prune", { call: "rename", count: 2 }],
  ["pull", { call: "mkdir", count: 2 }],
  ["pull", { call: "pwrite64", count: 9 }],
];

for (const [name, moment] of moments) {
  test(`killed before ${moment.call}(2) number ${moment.count} of a ${name}: a sound store, and doing it again succeeds`, async () => {
    expect(await surviveStoreKill({ engine, action: action(name), moment, image: image(), before })).toBe(true);
  });
}
