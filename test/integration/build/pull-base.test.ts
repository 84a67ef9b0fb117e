import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { busyboxEngine } from "../../support/busybox-engine.ts";
import { RegistryFixture } from "../../support/registry-fixture.ts";
import { newScratch } from "../../support/scratch.ts";

const engine = busyboxEngine();

test("FROM pulls an image that is missing and asks nobody for one that is here, but with --pull, which takes the newest", async () => {
  await using scratch = newScratch();
  await using registry = await RegistryFixture.start();
  const base = `${registry.host}/base:1`;
  const publish = async (text: string): Promise<void> => {
    writeFileSync(join(scratch.path, "Dockerfile"), `FROM busybox\nRUN echo ${text} > /version\n`);
    await engine.must("build", "-q", "-t", base, scratch.path);
    await engine.must("push", "-q", base);
    await engine.must("rmi", "-f", base);
  };
  const build = async (...flags: string[]): Promise<{ asked: number; version: string }> => {
    const before = registry.seen.length;
    writeFileSync(join(scratch.path, "Dockerfile"), `FROM ${base}\nRUN cp /version /seen\n`);
    const id = (await engine.must("build", "-q", ...flags, scratch.path)).trim();
    const asked = registry.seen.length - before;
    return { asked, version: await engine.must("run", "--rm", id, "cat", "/seen") };
  };

  await publish("first");
  const first = await build();
  expect(first.asked).toBeGreaterThan(0);
  expect(first.version).toBe("first");
  expect(await build()).toEqual({ asked: 0, version: "first" });
  expect((await build("--pull")).asked).toBeGreaterThan(0);

  // What is here is older than what the registry has.
  await engine.must("tag", base, "older:1");
  await publish("second");
  await engine.must("tag", "older:1", base);
  expect(await build()).toEqual({ asked: 0, version: "first" });
  expect((await build("--pull")).version).toBe("second");
});

test("FROM of an image that no registry has fails with its name", async () => {
  await using scratch = newScratch();
  await using registry = await RegistryFixture.start();
  writeFileSync(join(scratch.path, "Dockerfile"), `FROM ${registry.host}/absent:1\n`);
  const { exitCode, stderr } = await engine.vitrine("build", scratch.path);
  expect(exitCode).not.toBe(0);
  expect(stderr).toContain(`${registry.host}/absent`);
});
