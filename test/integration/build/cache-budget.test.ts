import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { importBusybox } from "../../support/busybox-image.ts";
import { newScratch } from "../../support/scratch.ts";
import { startTestEngine, type TestEngine } from "../../support/test-engine.ts";

interface Usage {
  readonly BuildCache: readonly {
    readonly ID: string;
    readonly Type: string;
    readonly Size: number;
    readonly Description: string;
  }[];
}

async function usageOf(engine: TestEngine): Promise<Usage["BuildCache"]> {
  return ((await (await engine.api("GET", "/system/df?type=build-cache")).json()) as Usage).BuildCache;
}

test("the cache of builds stays below the engine's budget, the least recently used goes first; du, df and prune tell of it", async () => {
  await using engine = await startTestEngine(["--build-cache-size", "2mb"]);
  await importBusybox(engine, "busybox");
  await using scratch = newScratch();
  const build = async (name: string): Promise<string> => {
    const command = `head -c 800000 /dev/urandom > /${name}`;
    writeFileSync(join(scratch.path, "Dockerfile"), `FROM busybox\nRUN ${command}\n`);
    // Without an image that would share the layer.
    return engine.must("build", "-o", join(scratch.path, "out"), "--progress", "plain", scratch.path);
  };
  for (const name of ["first", "second", "third"]) await build(name);
  const kept = await usageOf(engine);
  expect(kept.map(({ Description }) => /> \/(\w+)$/.exec(Description)?.[1])).toEqual(["second", "third"]);
  expect(kept.reduce((sum, { Size }) => sum + Size, 0)).toBeLessThanOrEqual(2 * 1024 * 1024);
  const listed = await engine.must("builder", "du");
  for (const { ID } of kept) expect(listed).toContain(ID);
  expect(listed).toMatch(/^ID +RECLAIMABLE +SIZE +LAST ACCESSED/);
  expect(listed).toMatch(/Reclaimable:\t1\.6\d*MB\nTotal:\t1\.6\d*MB$/);
  const one = await engine.must("builder", "du", "--verbose", "--filter", `id=${kept[0]?.ID}`);
  expect(one).toContain("Type:\tregular\n");
  expect(one).not.toContain(kept[1]?.ID ?? "-");
  const docker = await engine.docker("system", "df", "-v");
  expect(docker.stdout).toContain("Build cache usage: 1.6");
  expect(docker.stdout).toMatch(
    /CACHE ID +CACHE TYPE +SIZE +CREATED +LAST USED +USAGE +SHARED\n\w{12} +regular +80\dkB/,
  );
  expect(await engine.must("builder", "prune", "-f", "--filter", `id=${kept[0]?.ID}`)).toContain(
    "Total reclaimed space: 80",
  );
  expect((await usageOf(engine)).map(({ ID }) => ID)).toEqual([kept[1]?.ID ?? ""]);
  expect((await engine.vitrine("builder", "du", "--filter", "nonsense=1")).stderr).toMatch(/nonsense/);
});
