// SIGKILL to the daemon at chosen steps of a commit of a running container.
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { importBusybox } from "../support/busybox-image.ts";
import { ask, execContainer, startContainer } from "../support/engine-containers.ts";
import { expectTraces, settledTraces, tracesOf } from "../support/engine-traces.ts";
import { killDaemonAt, type Moment } from "../support/kill-at.ts";
import { TestEngine, waitFor } from "../support/test-engine.ts";

setDefaultTimeout(60_000);

const engine = new TestEngine();
const blobs = (): string[] => readdirSync(join(engine.root, "content/blobs/sha256")).sort();
let before: string[] = [];
let blobsBefore: string[] = [];
let id = "";

beforeAll(async () => {
  await engine.start();
  await importBusybox(engine);
  await settledTraces(engine);
  id = await startContainer(engine, "mkdir -p /a/b; for n in 1 2 3 4 5 6 7 8; do echo $n > /a/b/$n; done; sleep 1000");
  await waitFor("the files", async () => (await execContainer(engine, id, ["ls", "/a/b/8"])).exitCode === 0);
  await engine.stop("SIGKILL");
  await engine.start();
  await waitFor("a prepared namespace", () => tracesOf(engine).includes("mount /run/netns/*"));
  before = tracesOf(engine);
  blobsBefore = blobs();
});
afterAll(() => engine[Symbol.asyncDispose]());

const moments: Moment[] = [
  { call: "mkdir", count: 1 },
  { call: "symlink", count: 1 },
  { call: "openat2", count: 9 },
  { call: "fsync", count: 1 },
  { call: "rename", count: 1 },
  { call: "pwrite64", count: 2 },
  { call: "pwrite64", count: 16 },
  { call: "pwrite64", count: 30 },
  { call: "pwrite64", count: 42 },
  { call: "write", count: 1 },
  { call: "write", count: 3 },
];

for (const moment of moments) {
  test(`killed before ${moment.call}(2) number ${moment.count} of a commit: a whole image or none, and a container that goes on`, async () => {
    const killed = await killDaemonAt(engine, moment, async () => {
      await ask(engine, "POST", `/commit?container=${id}&repo=made&author=${moment.call}${moment.count}`);
    });
    expect(killed).toBe(true);
    await engine.stop("SIGKILL");
    await engine.start();
    expect((await engine.inspect(id)).State).toMatchObject({ Running: true, Paused: false });
    expect(await execContainer(engine, id, ["cat", "/a/b/8"])).toMatchObject({ stdout: "8\n", exitCode: 0 });
    const made = await ask<{ Id: string }[]>(engine, "GET", '/images/json?all=1&filters={"since":["busybox"]}');
    for (const { Id } of made) {
      const run = await startContainer(engine, "cat /a/b/1 && rm /a/b/1 && sleep 1000", { Image: Id });
      await waitFor("its change", async () => (await execContainer(engine, run, ["ls", "/a/b/1"])).exitCode !== 0);
      await ask(engine, "DELETE", `/containers/${run}?force=1`);
      await ask(engine, "DELETE", `/images/${Id}?force=1`);
    }
    expect(made.length).toBeLessThanOrEqual(1);
    await expectTraces(engine, before);
    expect(blobs()).toEqual(blobsBefore);
  });
}
