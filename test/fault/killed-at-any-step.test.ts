// SIGKILL to the daemon at chosen steps of create, start and remove; test/long goes through all of them.
import { expect, setDefaultTimeout, test } from "bun:test";
import { settledEngine } from "../support/busybox-engine.ts";
import { surviveKillAt, type Moment } from "../support/kill-at.ts";

setDefaultTimeout(60_000);

const { engine, before } = settledEngine();

const moments: Moment[] = [
  { call: "mkdir", count: 1 },
  { call: "mkdir", count: 12 },
  { call: "mkdir", count: 30 },
  { call: "symlink", count: 2 },
  { call: "pwrite64", count: 8 },
  { call: "pwrite64", count: 20 },
  { call: "sendto", count: 2 },
  { call: "sendto", count: 6 },
  { call: "write", count: 12 },
  { call: "rename", count: 1 },
];

for (const moment of moments) {
  test(`killed before ${moment.call}(2) number ${moment.count}, the next daemon leaves nothing half made`, async () => {
    expect(await surviveKillAt(engine, moment, before)).toBe(true);
  });
}
