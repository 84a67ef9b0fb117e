// The daemon is killed in the middle of `rmi`: an image is there with all its names, or not at all.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { ask } from "../support/engine-containers.ts";
import { killDaemonAt } from "../support/kill-at.ts";
import { publish, publishIndex, type Published } from "../support/published-image.ts";
import { RegistryFixture } from "../support/registry-fixture.ts";
import { startTestEngine, type TestEngine } from "../support/test-engine.ts";

const host = process.arch === "arm64" ? "arm64" : "amd64";
let engine: TestEngine;
let registry: RegistryFixture;
let own: Published;
let name: string;

beforeAll(async () => {
  [engine, registry] = await Promise.all([startTestEngine(), RegistryFixture.start()]);
  own = await publish(registry, { tag: "own", config: { architecture: host } });
  const other = await publish(registry, { tag: "other", config: { architecture: "s390x" } });
  publishIndex(registry, {
    tag: "multi",
    entries: [
      { digest: own.digest, architecture: host },
      { digest: other.digest, architecture: "s390x" },
    ],
  });
  name = `${registry.host}/app:multi`;
}, 30_000);
afterAll(async () => {
  await Promise.all([engine[Symbol.asyncDispose](), registry[Symbol.asyncDispose]()]);
}, 30_000);

interface Listed {
  Id: string;
  RepoTags: string[];
  RepoDigests: string[];
}

/** Both platforms of the name are here, or nothing is; answers which. */
async function expectAllOrNothing(): Promise<"all" | "nothing"> {
  const report = await engine.must("system", "check", "--format", "json");
  expect((JSON.parse(report) as { Findings: unknown[] }).Findings).toEqual([]);
  const list = await ask<Listed[]>(engine, "GET", "/images/json?all=1");
  if (list.length === 0) {
    const root = join(engine.scratch.path, "root");
    expect(readdirSync(join(root, "overlay2"))).toEqual(["l"]);
    expect(readdirSync(join(root, "content/blobs/sha256"))).toEqual([]);
    return "nothing";
  }
  expect(list.map(({ Id, RepoTags, RepoDigests }) => [Id, RepoTags, RepoDigests.length])).toEqual([
    [own.id, [name], 1],
  ]);
  await engine.must("image", "inspect", "--platform", "linux/s390x", name);
  return "all";
}

test.each(["pwrite64", "fsync", "unlink", "rename"])(
  "killed before each %s of a removal, an image is whole or gone",
  async (call) => {
    const found = new Set<string>();
    let kills = 0;
    for (let count = 1; count <= 12; count += count < 4 ? 1 : 4) {
      await engine.must("pull", "-q", name);
      await engine.must("pull", "-q", "--platform", "linux/s390x", name);
      const killed = await killDaemonAt(engine, { call, count }, async () => {
        await engine.api("DELETE", `/images/${name}`).then((response) => response.text());
      });
      if (killed) {
        kills++;
        await engine.stop("SIGKILL");
        await engine.start();
      }
      found.add(await expectAllOrNothing());
      if (!killed) break;
    }
    expect([kills > 0, found.size > 0]).toEqual([true, true]);
  },
  120_000,
);
