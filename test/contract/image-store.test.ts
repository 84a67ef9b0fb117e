import { describe, expect, test } from "bun:test";
import type { Filters } from "../../src/image/image-record.ts";
import { configFor, once, openImages, sha256, tarOf, type ImageFixture } from "../support/image-fixture.ts";
import { newScratch } from "../support/scratch.ts";

const unused = (): { id: string; running: boolean }[] => [];
const container = "c".repeat(64);
const runningUser = (): { id: string; running: boolean }[] => [{ id: container, running: true }];
const stoppedUser = (): { id: string; running: boolean }[] => [{ id: container, running: false }];
const plain = { force: false, noPrune: false, usedBy: unused };
const filters = (entries: Record<string, string[]> = {}): Filters => new Map(Object.entries(entries));

/** Makes an image of these layer texts, each one a layer with one file. */
async function make(
  { images, snapshots }: ImageFixture,
  texts: readonly string[],
  options: { reference?: string; parent?: string; config?: Record<string, unknown> } = {},
): Promise<string> {
  const tars = await Promise.all(texts.map((text) => tarOf([{ name: text, text }])));
  const layers: string[] = [];
  for (const tar of tars) layers.push((await snapshots.apply(layers.at(-1), once(tar))).chainId);
  const { config = {}, ...rest } = options;
  return (await images.create(configFor(tars, config), { layers, ...rest })).id;
}

describe("an image store", () => {
  test("keeps records over a restart", async () => {
    await using scratch = newScratch();
    let id = "";
    {
      using before = openImages(scratch.path);
      id = await make(before, ["a", "b"], { reference: "app:v1" });
    }
    using after = openImages(scratch.path);
    const image = after.images.get("app:v1");
    expect(image).toMatchObject({ id, repoTags: ["app:v1"], createdAt: "2024-02-03T04:05:06.789Z", sizeBytes: 2 });
    expect(image.layers.map((layer) => layer.diffId)).toEqual([...image.config.rootfs.diff_ids]);
    await after.images.collect();
    expect(after.images.get("app:v1").layers).toHaveLength(2);
  });

  test("finds an image by tag, default tag, digest, id, and unique prefix of an id", async () => {
    await using scratch = newScratch();
    using fixture = openImages(scratch.path);
    const id = await make(fixture, ["a"], { reference: "app" });
    const digest = `sha256:${"1".repeat(64)}`;
    await fixture.images.addDigest(id, { repository: "app", digest });
    const hex = id.slice(7);
    for (const text of [
      "app",
      "app:latest",
      "docker.io/library/app",
      `app@${digest}`,
      id,
      hex,
      hex.slice(0, 12),
      id.slice(0, 12),
    ]) {
      expect(fixture.images.get(text).id).toBe(id);
    }
    expect(fixture.images.get(id).repoDigests).toEqual([`app@${digest}`]);
  });

  test.each([
    ["foo", "No such image: foo:latest"],
    ["foo:1", "No such image: foo:1"],
    ["docker.io/library/foo", "No such image: foo:latest"],
    ["sha256:abc", "No such image: sha256:abc"],
    ["abcdef", "No such image: abcdef:latest"],
    ["0".repeat(64), `No such image: sha256:${"0".repeat(64)}`],
    ["Foo", "must be lowercase"],
  ])("of %p says %p", async (text, message) => {
    await using scratch = newScratch();
    using fixture = openImages(scratch.path);
    expect(() => fixture.images.get(text)).toThrow(message);
  });

  test("refuses an ambiguous prefix", async () => {
    await using scratch = newScratch();
    using fixture = openImages(scratch.path);
    const byDigit = new Map<string, string>();
    let shared: string | undefined;
    for (let n = 0; shared === undefined; n++) {
      const id = await make(fixture, [], { config: { author: `${n}` } });
      const digit = id.slice(7, 8);
      if (byDigit.has(digit)) shared = digit;
      byDigit.set(digit, id);
    }
    expect(() => fixture.images.get(shared ?? "")).toThrow("is ambiguous");
  });

  test("moves a tag: the old image has none then", async () => {
    await using scratch = newScratch();
    using fixture = openImages(scratch.path);
    const old = await make(fixture, ["a"], { reference: "app:1" });
    const young = await make(fixture, ["b"], { reference: "app:1" });
    expect(fixture.images.get("app:1").id).toBe(young);
    expect(fixture.images.get(old).repoTags).toEqual([]);
    const dangling = await fixture.images.summaries({
      all: false,
      filters: filters({ dangling: ["true"] }),
      sharedSize: false,
    });
    expect(dangling.map((image) => [image.Id, image.RepoTags])).toEqual([[old, []]]);
    await fixture.images.tag(old, { repository: "host:5000/x", tag: "" });
    expect(fixture.images.get(old).repoTags).toEqual(["host:5000/x:latest"]);
    expect(Date.parse(fixture.images.get(old).lastTagTime)).toBeGreaterThan(Date.now() - 60_000);
    await expect(fixture.images.tag(old, { repository: "sha256", tag: "a" })).rejects.toThrow("ambiguous tag");
    await expect(fixture.images.tag(old, { repository: "a", tag: "-" })).rejects.toThrow('invalid tag format: "-"');
  });

  test("refuses a config that means other layers than were given", async () => {
    await using scratch = newScratch();
    using fixture = openImages(scratch.path);
    const tar = await tarOf([{ name: "a" }]);
    const missing = sha256(tar);
    await expect(fixture.images.create(configFor([tar]), { layers: [missing] })).rejects.toThrow("does not exist");
    await expect(fixture.images.create(configFor([tar]), { layers: [] })).rejects.toThrow("names 1 layers, but 0");
    await expect(fixture.images.create(Buffer.from("{}"), { layers: [] })).rejects.toThrow('"architecture" is missing');
    expect(fixture.images.list()).toEqual([]);
  });
});

describe("removing", () => {
  test("the last tag untags, deletes the image, then its layers from the top", async () => {
    await using scratch = newScratch();
    using fixture = openImages(scratch.path);
    const id = await make(fixture, ["a", "b"], { reference: "app" });
    const [lower, upper] = fixture.images.get(id).layers;
    expect(await fixture.images.remove("app", plain)).toEqual([
      { Untagged: "app:latest" },
      { Deleted: id },
      { Deleted: upper?.chainId ?? "" },
      { Deleted: lower?.chainId ?? "" },
    ]);
    expect(fixture.snapshots.layers()).toEqual([]);
    expect(fixture.content.digests()).toEqual([]);
  });

  test("one of two tags only untags; layers that another image has stay", async () => {
    await using scratch = newScratch();
    using fixture = openImages(scratch.path);
    const id = await make(fixture, ["a"], { reference: "app:1" });
    await fixture.images.tag(id, { repository: "app", tag: "2" });
    const other = await make(fixture, ["a", "b"], { reference: "other" });
    expect(await fixture.images.remove("app:1", plain)).toEqual([{ Untagged: "app:1" }]);
    expect(await fixture.images.remove(id, plain)).toEqual([{ Untagged: "app:2" }, { Deleted: id }]);
    expect(fixture.images.get(other).layers).toHaveLength(2);
  });

  test("the last tag of a repository takes its digests along", async () => {
    await using scratch = newScratch();
    using fixture = openImages(scratch.path);
    const id = await make(fixture, ["a"], { reference: "app:1" });
    const digest = `sha256:${"1".repeat(64)}`;
    await fixture.images.addDigest(id, { repository: "app", digest });
    const removed = await fixture.images.remove("app:1", plain);
    expect(removed.slice(0, 3)).toEqual([{ Untagged: "app:1" }, { Untagged: `app@${digest}` }, { Deleted: id }]);
  });

  test("what is in use is refused with Docker's words", async () => {
    await using scratch = newScratch();
    using fixture = openImages(scratch.path);
    const id = await make(fixture, ["a"], { reference: "app" });
    const short = id.slice(7, 19);
    const remove = (text: string, force: boolean, usedBy = runningUser) =>
      fixture.images.remove(text, { force, noPrune: false, usedBy });
    await expect(remove("app", false)).rejects.toThrow(
      `conflict: unable to remove repository reference "app" (must force) - container cccccccccccc is using its referenced image ${short}`,
    );
    await expect(remove(id, true)).rejects.toThrow(
      `conflict: unable to delete ${short} (cannot be forced) - image is being used by running container cccccccccccc`,
    );
    await expect(remove(id, false, stoppedUser)).rejects.toThrow(
      `conflict: unable to delete ${short} (must be forced) - image is being used by stopped container cccccccccccc`,
    );
    await fixture.images.tag(id, { repository: "b", tag: "1" });
    await expect(remove(id, false, unused)).rejects.toThrow(
      `conflict: unable to delete ${short} (must be forced) - image is referenced in multiple repositories`,
    );
    expect(fixture.images.get("app").id).toBe(id);
    expect(await remove(id, true, stoppedUser)).toContainEqual({ Deleted: id });
  });

  test("a forced removal by name under a running container only untags", async () => {
    await using scratch = newScratch();
    using fixture = openImages(scratch.path);
    const id = await make(fixture, ["a"], { reference: "app" });
    const options = { force: true, noPrune: false, usedBy: runningUser };
    expect(await fixture.images.remove("app", options)).toEqual([{ Untagged: "app:latest" }]);
    expect(fixture.images.get(id).repoTags).toEqual([]);
  });

  test("an image with children stays; untagged parents go with the last child, unless asked not to", async () => {
    await using scratch = newScratch();
    using fixture = openImages(scratch.path);
    const parent = await make(fixture, ["a"]);
    const child = await make(fixture, ["a", "b"], { parent, reference: "app" });
    expect(fixture.images.children(parent)).toEqual([child]);
    await expect(fixture.images.remove(parent, { ...plain, force: true })).rejects.toThrow(
      `unable to delete ${parent.slice(7, 19)} (cannot be forced) - image has dependent child images`,
    );
    const removed = await fixture.images.remove("app", plain);
    expect(removed.filter((item) => "Deleted" in item).map((item) => Object.values(item)[0])).toContain(parent);
    expect(fixture.images.list()).toEqual([]);

    const again = await make(fixture, ["a"]);
    await make(fixture, ["a", "b"], { parent: again, reference: "app" });
    await fixture.images.remove("app", { ...plain, noPrune: true });
    expect(fixture.images.list().map((image) => image.id)).toEqual([again]);
  });

  test("a layer that work holds, or a container stands on, stays until it may go", async () => {
    await using scratch = newScratch();
    using fixture = openImages(scratch.path);
    const id = await make(fixture, ["a"], { reference: "app" });
    const chainId = fixture.images.get(id).chainId ?? "";
    {
      using hold = fixture.images.hold("test");
      hold.add(chainId);
      await fixture.images.remove("app", plain);
      await fixture.images.collect();
      expect(fixture.snapshots.layer(chainId)).toBeDefined();
    }
    await fixture.snapshots.prepare("container", chainId);
    await fixture.images.collect();
    expect(fixture.snapshots.layer(chainId)).toBeDefined();
    await fixture.snapshots.remove("container");
    expect((await fixture.images.collect()).deleted).toEqual([chainId]);
  });

  test("collecting leaves a layer that was made for an image to come", async () => {
    await using scratch = newScratch();
    {
      using fixture = openImages(scratch.path);
      await fixture.snapshots.apply(undefined, once(await tarOf([{ name: "a" }])));
      expect((await fixture.images.collect()).deleted).toEqual([]);
    }
    using restarted = openImages(scratch.path);
    expect((await restarted.images.collect()).deleted).toHaveLength(1);
    expect(restarted.snapshots.layers()).toEqual([]);
  });

  test("prune takes dangling images, or all that are unused, by label and age", async () => {
    await using scratch = newScratch();
    using fixture = openImages(scratch.path);
    const dangling = await make(fixture, ["a"]);
    const tagged = await make(fixture, ["bb"], { reference: "app" });
    const used = await make(fixture, ["c"], { reference: "used" });
    const usedBy = (id: string) => (id === used ? stoppedUser() : []);
    const prune = (entries: Record<string, string[]>) => fixture.images.prune(filters(entries), { usedBy });
    expect((await prune({ label: ["x"] })).deleted).toEqual([]);
    expect((await prune({ until: ["2024-01-01T00:00:00Z"] })).deleted).toEqual([]);
    expect((await prune({})).deleted).toContainEqual({ Deleted: dangling });
    const rest = await prune({ dangling: ["false"] });
    expect(rest.deleted).toContainEqual({ Deleted: tagged });
    expect(rest.spaceReclaimed).toBe(2);
    expect(fixture.images.list().map((image) => image.id)).toEqual([used]);
    await expect(prune({ nonsense: ["1"] })).rejects.toThrow("invalid filter 'nonsense'");
  });
});

function at(created: string, Labels: Record<string, string> = {}): { config: Record<string, unknown> } {
  return { config: { created, config: { Labels } } };
}

describe("lists", () => {
  test("show what the filters leave, newest first, without intermediate images", async () => {
    await using scratch = newScratch();
    using fixture = openImages(scratch.path);
    const base = await make(fixture, ["a"], at("2020-01-01T00:00:00Z"));
    const one = await make(fixture, ["a", "b"], {
      ...at("2021-01-01T00:00:00Z", { k: "v" }),
      parent: base,
      reference: "user/app:v1",
    });
    const two = await make(fixture, ["c"], { ...at("2022-01-01T00:00:00Z"), reference: "other:v2" });
    const list = async (entries: Record<string, string[]> = {}, all = false) =>
      (await fixture.images.summaries({ all, filters: filters(entries), sharedSize: false })).map((image) => image.Id);
    expect(await list()).toEqual([two, one]);
    expect(await list({}, true)).toEqual([two, one, base]);
    expect(await list({ label: ["k"] })).toEqual([one]);
    expect(await list({ label: ["k=w"] })).toEqual([]);
    expect(await list({ reference: ["*/app"] })).toEqual([one]);
    expect(await list({ reference: ["*:v2", "nothing"] })).toEqual([two]);
    expect(await list({ before: ["other:v2"] })).toEqual([one]);
    expect(await list({ since: ["user/app:v1"] })).toEqual([two]);
    expect(await list({ dangling: ["true"] })).toEqual([]);
    await expect(list({ dangling: ["maybe"] })).rejects.toThrow("invalid filter 'dangling=[maybe]'");
    const [, summary] = await fixture.images.summaries({
      all: false,
      filters: filters(),
      sharedSize: true,
      usedBy: stoppedUser,
    });
    expect(summary).toMatchObject({
      ParentId: base,
      RepoTags: ["user/app:v1"],
      Created: Date.parse("2021-01-01T00:00:00Z") / 1000,
      Size: 2,
      SharedSize: 1,
      Labels: { k: "v" },
      Containers: 1,
    });
  });

  test("history names the images that were made here, and <missing> below", async () => {
    await using scratch = newScratch();
    using fixture = openImages(scratch.path);
    const parent = await make(fixture, ["a"]);
    const history = [
      { created_by: "old", created: "2020-01-01T00:00:00Z" },
      { created_by: "ENV", empty_layer: true },
      { created_by: "new" },
    ];
    const id = await make(fixture, ["a", "bb"], { parent, reference: "app", config: { history } });
    const items = await fixture.images.history("app");
    expect(items.map((item) => [item.Id, item.CreatedBy, item.Size, item.Tags])).toEqual([
      [id, "new", 2, ["app:latest"]],
      [parent, "ENV", 0, null],
      ["<missing>", "old", 1, null],
    ]);
  });

  test("inspect has the members that clients of any version read", async () => {
    await using scratch = newScratch();
    using fixture = openImages(scratch.path);
    await make(fixture, ["a", "b"], { reference: "app", config: { comment: "hi" } });
    const inspect = await fixture.images.inspect("app");
    expect(inspect).toMatchObject({
      RepoTags: ["app:latest"],
      RepoDigests: [],
      Comment: "hi",
      Architecture: "amd64",
      Os: "linux",
      Size: 2,
      Config: { Env: ["PATH=/bin"], Cmd: ["sh"], Entrypoint: null, User: "" },
      RootFS: { Type: "layers" },
      GraphDriver: { Name: "overlay2" },
    });
    expect(Object.keys(inspect.GraphDriver.Data ?? {}).toSorted()).toEqual([
      "LowerDir",
      "MergedDir",
      "UpperDir",
      "WorkDir",
    ]);
    expect(inspect.RootFS.Layers).toHaveLength(2);
  });
});
