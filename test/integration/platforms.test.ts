// Names that stand for images of several platforms: pulled, listed, shown, saved, loaded, pushed and removed.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import type { ImageInspect, ImageSummary } from "../../src/spec/index.ts";
import { ask } from "../support/engine-containers.ts";
import { sha256, tarOf } from "../support/image-fixture.ts";
import { publish, publishIndex, type Published } from "../support/published-image.ts";
import { RegistryFixture } from "../support/registry-fixture.ts";
import { newScratch, type Scratch } from "../support/scratch.ts";
import { runProgram, startTestEngine, type TestEngine } from "../support/test-engine.ts";

const host = process.arch === "arm64" ? "arm64" : "amd64";

let engine: TestEngine;
let other: TestEngine;
let registry: RegistryFixture;
let scratch: Scratch;
let mine: Published;
let foreign: Published;
let digest: string;
let name: string;

beforeAll(async () => {
  scratch = newScratch();
  [engine, other, registry] = await Promise.all([startTestEngine(), startTestEngine(), RegistryFixture.start()]);
  const shared = await tarOf([{ name: "shared", text: "both\n" }]);
  const layers = async (text: string) => [shared, await tarOf([{ name: "which", text }])];
  mine = await publish(registry, { tag: "a", layers: await layers("mine"), config: { architecture: host } });
  foreign = await publish(registry, { tag: "b", layers: await layers("theirs"), config: { architecture: "s390x" } });
  const entries = [
    { digest: foreign.digest, architecture: "s390x" },
    { digest: mine.digest, architecture: host },
  ];
  digest = publishIndex(registry, { tag: "multi", entries });
  name = `${registry.host}/app:multi`;
  await engine.must("pull", name);
}, 30_000);

afterAll(async () => {
  await Promise.all([engine[Symbol.asyncDispose](), other[Symbol.asyncDispose](), registry[Symbol.asyncDispose]()]);
  await scratch[Symbol.asyncDispose]();
}, 30_000);

const idOf = async (from: TestEngine, ...words: string[]): Promise<string> =>
  (await from.must("image", "inspect", "--format", "{{.Id}}", ...words)).trim();

describe("an image of an index", () => {
  test("is refused for a platform that was not pulled, and that one adds to the name", async () => {
    const words = `was found but does not match the specified platform: wanted linux/s390x, actual: linux/${host}`;
    expect((await engine.vitrine("image", "inspect", "--platform", "linux/s390x", name)).stderr).toContain(words);
    const pushed = await engine.vitrine("push", "--platform", "linux/s390x", name);
    expect(pushed.exitCode).toBe(1);
    expect(pushed.stderr).toContain(words);
    expect(await engine.must("pull", "--platform", "linux/s390x", name)).toContain("Downloaded newer image");
    expect(await engine.must("pull", "--platform", "linux/s390x", name)).toContain("Image is up to date");
    expect(await idOf(engine, name)).toBe(mine.id);
    expect(await idOf(engine, "--platform", "linux/s390x", name)).toBe(foreign.id);
    expect(await engine.must("image", "inspect", "--format", "{{json .RepoDigests}}", name)).toBe(
      `["${registry.host}/app@${digest}"]`,
    );
    const history = await engine.must("history", "--platform", "linux/s390x", "-q", "--no-trunc", name);
    expect(history.split("\n")[0]).toBe(foreign.id);
  });

  test("is one line of the list, and its platforms are the tree's", async () => {
    expect(await engine.must("images", "-q", "--no-trunc")).toBe(mine.id);
    const tree = await engine.must("image", "ls", "--tree");
    expect(tree).toMatch(/├─ linux\/s390x +\w{12} /);
    expect(tree).toMatch(new RegExp(`└─ linux/${host} +\\w{12} `));
    const [entry] = await ask<ImageSummary[]>(engine, "GET", "/v1.51/images/json?manifests=1");
    expect(entry?.Descriptor?.digest).toBe(digest);
    expect(entry?.Manifests?.map(({ ID, Available, Kind }) => [ID, Available, Kind])).toEqual([
      [foreign.digest, true, "image"],
      [mine.digest, true, "image"],
    ]);
    const shown = entry?.Manifests?.map(({ ImageData }) => ImageData?.Platform.architecture);
    expect(shown).toEqual(["s390x", host]);
    const inspected = await ask<ImageInspect>(engine, "GET", `/v1.51/images/${name}/json?manifests=1`);
    expect(inspected.Manifests).toEqual(entry?.Manifests ?? []);
    const older = await ask<ImageInspect>(engine, "GET", `/v1.47/images/${name}/json?manifests=1`);
    expect([older.Manifests, older.Descriptor]).toEqual([undefined, undefined]);
    // docker's own client draws the same platforms of it.
    expect(await engine.docker("image", "ls", "--tree").then(({ stdout }) => stdout)).toMatch(/linux\/s390x/);
  });

  test("is taken by create for the platform asked for, and no name of it goes while a container uses one", async () => {
    await engine.must("create", "--name", "foreign", "--platform", "linux/s390x", name, "/none");
    const image = await engine.must("inspect", "--format", "{{.Image}}", "foreign");
    expect(image.trim()).toBe(foreign.id);
    expect(await engine.must("ps", "-a", "--format", "{{.Image}}")).toBe(name);
    const refused = await engine.vitrine("rmi", name);
    expect(refused.stderr).toContain("is using its referenced image");
    expect(await engine.must("image", "prune", "-f")).toBe("Total reclaimed space: 0B");
    await engine.must("rm", "foreign");
  });

  test("is saved with the bytes of its index, and loads elsewhere whole, or for one platform", async () => {
    const archive = join(scratch.path, "multi.tar");
    await engine.must("save", "-o", archive, name);
    const layout = await runProgram(["tar", "-xOf", archive, "index.json"]);
    expect(JSON.parse(layout.stdout).manifests.map((entry: { digest: string }) => entry.digest)).toEqual([digest]);
    const [entry] = JSON.parse((await runProgram(["tar", "-xOf", archive, "manifest.json"])).stdout);
    expect(entry.Config).toBe(`blobs/sha256/${mine.id.slice(7)}`);
    expect(await other.must("load", "-i", archive)).toBe(`Loaded image: ${name}`);
    expect(await idOf(other, name)).toBe(mine.id);
    expect(await idOf(other, "--platform", "s390x", name)).toBe(foreign.id);
    const again = join(scratch.path, "again.tar");
    await other.must("save", "-o", again, name);
    const hash = async (path: string) => sha256(new Uint8Array(await Bun.file(path).arrayBuffer()));
    expect(await hash(again)).toBe(await hash(archive));
    await other.must("rmi", name);
    expect(await other.must("images", "-aq")).toBe("");
    await other.must("load", "--platform", "linux/s390x", "-i", archive);
    expect(await idOf(other, name)).toBe(foreign.id);
    await other.must("rmi", name);
    const single = join(scratch.path, "single.tar");
    await engine.must("save", "--platform", "linux/s390x", "-o", single, name);
    await other.must("load", "-i", single);
    expect(await idOf(other, name)).toBe(foreign.id);
    await other.must("rmi", name);
    expect(await ask<unknown[]>(other, "GET", "/images/json?all=1")).toEqual([]);
  });

  test("is pushed as the index where it is whole, and under another tag too", async () => {
    const target = `${registry.host}/copy:v1`;
    await engine.must("tag", name, target);
    const out = await engine.must("push", target);
    expect(out).toContain(`v1: digest: ${digest} size: `);
    const there = registry.manifests.get("copy/manifests/v1");
    expect(sha256(there?.bytes ?? new Uint8Array())).toBe(digest);
    expect(registry.manifests.has(`copy/manifests/${foreign.digest}`)).toBe(true);
    const single = await engine.must("push", "--platform", "linux/s390x", target);
    expect(single).toContain(`v1: digest: ${foreign.digest} size: `);
    await engine.must("rmi", target);
    expect(await idOf(engine, "--platform", "linux/s390x", name)).toBe(foreign.id);
  });

  test("goes by platform, and the rest is pushed as one manifest with docker's note", async () => {
    const removed = await engine.must("rmi", "--platform", "linux/s390x", name);
    expect(removed).toStartWith(`Deleted: ${foreign.id}\n`);
    expect((await engine.vitrine("image", "inspect", foreign.id)).exitCode).toBe(1);
    const target = `${registry.host}/part:v1`;
    await engine.must("tag", name, target);
    const note = "Not all multiplatform-content is present and only the available single-platform image was pushed";
    for (const client of ["vitrine", "docker"] as const) {
      const pushed = await engine[client]("push", target);
      expect(pushed.stdout).toContain(`v1: digest: ${mine.digest} size: `);
      expect(pushed.stdout + pushed.stderr).toContain(note);
    }
    await engine.must("rmi", target);
    await engine.must("pull", "--platform", "linux/s390x", name);
    await engine.must("rmi", "--platform", `linux/${host}`, name);
    expect(await idOf(engine, name)).toBe(foreign.id);
    await engine.must("pull", name);
    expect(await idOf(engine, name)).toBe(mine.id);
  });

  test("goes with its last name, all platforms and layers of it", async () => {
    const removed = await engine.must("rmi", name);
    expect(removed).toContain(`Untagged: ${name}\nUntagged: ${registry.host}/app@${digest}\n`);
    expect(removed).toContain(`Deleted: ${mine.id}\n`);
    expect(removed).toContain(`Deleted: ${foreign.id}\n`);
    expect(await ask<unknown[]>(engine, "GET", "/images/json?all=1")).toEqual([]);
    expect(await engine.must("system", "df", "--format", "{{.Size}}")).toStartWith("0B\n");
    const blobs = await runProgram(["find", join(engine.scratch.path), "-path", "*/blobs/sha256/*"]);
    expect(blobs.stdout).toBe("");
  });
});
