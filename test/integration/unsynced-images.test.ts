// What a power cut does to layers and images that were not on disk yet: another boot has another id, which the records are given here.
import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { configFor, once, openImages, sha256, tarOf, type ImageFixture } from "../support/image-fixture.ts";
import { newScratch } from "../support/scratch.ts";

interface Step {
  readonly imageId: string;
  readonly top: string;
}

/** One file more than what is below, and its image, as a step of a build leaves them. */
async function step({ images, snapshots }: ImageFixture, name: string, before?: Step): Promise<Step> {
  await snapshots.prepare(name, before?.top, { hostFiles: false });
  writeFileSync(join(snapshots.diffDirectory(name), name), name);
  const layer = await snapshots.commit(name, { lasting: false });
  const chain = snapshots.chain(layer!.chainId).toReversed();
  const config = {
    ...JSON.parse(String(configFor([]))),
    rootfs: { type: "layers", diff_ids: chain.map((one) => one.diffId) },
  };
  const layers = chain.map(({ chainId }) => chainId);
  const parent = before ? { parent: before.imageId } : {};
  const image = await images.create(Buffer.from(JSON.stringify(config)), { layers, ...parent, lasting: false });
  return { imageId: image.id, top: layer!.chainId };
}

/** The records as another boot finds them. */
function reboot({ paths }: ImageFixture): void {
  using db = new Database(paths.database);
  for (const table of ["unsynced_layers", "unsynced_images"]) db.run(`UPDATE ${table} SET boot_id = 'another'`);
}

test("a step's image and layer are there at once, and after a restart of the engine alone", async () => {
  await using scratch = newScratch();
  let made: Step;
  {
    using before = openImages(scratch.path);
    made = await step(before, "a");
    expect(before.images.get(made.imageId).layers).toHaveLength(1);
  }
  using after = openImages(scratch.path);
  expect(after.images.find(made.imageId)?.id).toBe(made.imageId);
  expect(after.snapshots.layer(made.top)?.chainId).toBe(made.top);
});

test("a power cut drops what was not on disk, with all that stands on it, and no directory stays", async () => {
  await using scratch = newScratch();
  {
    using before = openImages(scratch.path);
    const first = await step(before, "a");
    await before.snapshots.prepare("running", first.top, { hostFiles: false });
    await step(before, "b", first);
    reboot(before);
  }
  using after = openImages(scratch.path);
  expect(after.images.list()).toEqual([]);
  expect(after.snapshots.layers()).toEqual([]);
  expect(after.snapshots.keys()).toEqual([]);
  expect(readdirSync(after.paths.overlay2).filter((name) => name !== "l")).toEqual([]);
  const again = await step(after, "a");
  expect(after.images.get(again.imageId).layers).toHaveLength(1);
});

test.each<[how: string, (fixture: ImageFixture, last: Step) => Promise<unknown>]>([
  ["a sync", ({ images }) => images.sync()],
  ["a tag", ({ images }, { imageId }) => images.tag(imageId, { repository: "app", tag: "v1" })],
  [
    "an image that lasts, made of other layers",
    async ({ images, snapshots }) => {
      const tar = await tarOf([{ name: "other", text: "other" }]);
      const layer = await snapshots.apply(undefined, once(tar), { diffId: sha256(tar) });
      await images.create(configFor([tar]), { layers: [layer.chainId] });
    },
  ],
])("%s makes them outlive a power cut", async (_, last) => {
  await using scratch = newScratch();
  let steps: Step[];
  {
    using before = openImages(scratch.path);
    const first = await step(before, "a");
    steps = [first, await step(before, "b", first)];
    await last(before, steps[1]!);
    reboot(before);
  }
  using after = openImages(scratch.path);
  for (const { imageId, top } of steps) {
    expect(after.images.get(imageId).layers.at(-1)?.chainId).toBe(top);
    expect(after.snapshots.layer(top)?.chainId).toBe(top);
  }
});
