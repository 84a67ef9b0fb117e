import { describe, expect, test } from "bun:test";
import { gzipSync, zstdCompressSync } from "node:zlib";
import {
  collectBytes,
  collectMessages,
  configFor,
  inPieces,
  once,
  openImages,
  sha256,
  tarOf,
  type ImageFixture,
  type TestFile,
} from "../support/image-fixture.ts";
import { newScratch } from "../support/scratch.ts";

const lower = await tarOf([{ name: "etc/" }, { name: "etc/a", text: "lower\n" }]);
const upper = await tarOf([{ name: "etc/" }, { name: "etc/b", text: "upper\n" }, { name: "etc/.wh.a" }]);
const config = configFor([lower, upper]);
const id = sha256(config);
const hex = id.slice(7);

function manifest(
  layers: readonly string[],
  tags: readonly string[] | null = ["app:v1"],
  name = `${hex}.json`,
): string {
  return JSON.stringify([{ Config: name, RepoTags: tags, Layers: layers }]);
}

/** As Docker 1.10 to 24 writes it: the members in this order. */
function dockerArchive(members: readonly TestFile[] = []): Promise<Buffer> {
  return tarOf([
    { name: `${hex}.json`, text: config },
    { name: "one/" },
    { name: "one/VERSION", text: "1.0" },
    { name: "one/json", text: "{}" },
    { name: "one/layer.tar", text: lower },
    { name: "two/layer.tar", text: upper },
    { name: "manifest.json", text: manifest(["one/layer.tar", "two/layer.tar"]) },
    ...members,
  ]);
}

const ociManifest = "application/vnd.oci.image.manifest.v1+json";

function blob(bytes: Uint8Array): TestFile {
  return { name: `blobs/sha256/${sha256(bytes).slice(7)}`, text: bytes };
}

function descriptorOf(bytes: Uint8Array, mediaType: string): { mediaType: string; digest: string; size: number } {
  return { mediaType, digest: sha256(bytes), size: bytes.length };
}

/** An OCI layout with these blobs as the layers. */
async function ociLayout(layers: readonly Uint8Array[], annotations: Record<string, string>): Promise<TestFile[]> {
  const document = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      config: descriptorOf(config, "application/vnd.oci.image.config.v1+json"),
      layers: layers.map((layer) => descriptorOf(layer, "application/vnd.oci.image.layer.v1.tar+gzip")),
    }),
  );
  return [
    { name: "oci-layout", text: '{"imageLayoutVersion":"1.0.0"}' },
    {
      name: "index.json",
      text: JSON.stringify({ schemaVersion: 2, manifests: [{ ...descriptorOf(document, ociManifest), annotations }] }),
    },
    blob(document),
    blob(config),
    ...layers.map(blob),
  ];
}

async function load({ images }: ImageFixture, archive: Uint8Array): Promise<string[]> {
  const messages = await collectMessages(images.load(inPieces(archive, 4096), { quiet: true }));
  return messages.map((message) => message.stream ?? "");
}

/** Names of layer directories, and of blobs, that a failed load could have left. */
function leftovers({ snapshots, content, images }: ImageFixture): string[] {
  return [
    ...snapshots.layers().map((layer) => layer.chainId),
    ...content.digests(),
    ...images.list().map((image) => image.id),
  ];
}

describe("loading a docker-archive", () => {
  test("gives the image the id of its config's bytes, its layers and its tag", async () => {
    await using scratch = newScratch();
    using fixture = openImages(scratch.path);
    expect(await load(fixture, await dockerArchive())).toEqual(["Loaded image: app:v1\n"]);
    const image = fixture.images.get("app:v1");
    expect(image.id).toBe(id);
    expect(image.layers.map((layer) => layer.diffId)).toEqual([sha256(lower), sha256(upper)]);
    expect(image.repoTags).toEqual(["app:v1"]);
    expect(Buffer.from(fixture.content.readBytes(id)).equals(config)).toBe(true);
  });

  test("takes the members in any order, gzip or zstd around it, and links between layers", async () => {
    const twice = configFor([lower, lower]);
    const members = [
      { name: "manifest.json", text: manifest(["one/layer.tar", "two/layer.tar"], ["a:1", "b:2"], "c.json") },
      { name: "two/layer.tar", linkTo: "../one/layer.tar" },
      { name: "c.json", text: twice },
      { name: "one/layer.tar", text: lower },
    ];
    for (const pack of [gzipSync, zstdCompressSync]) {
      await using scratch = newScratch();
      using fixture = openImages(scratch.path);
      const archive = pack(await tarOf(members));
      expect(await load(fixture, archive)).toEqual(["Loaded image: a:1\n", "Loaded image: b:2\n"]);
      expect(fixture.images.get("b:2").id).toBe(sha256(twice));
      expect(fixture.images.get("b:2").layers).toHaveLength(2);
    }
  });

  test("tells what it loads layer by layer, unless it is to be quiet", async () => {
    await using scratch = newScratch();
    using fixture = openImages(scratch.path);
    const messages = await collectMessages(fixture.images.load(once(await dockerArchive()), { quiet: false }));
    expect(messages[0]).toEqual({
      id: sha256(lower).slice(7, 19),
      status: "Loading layer",
      progressDetail: { current: 0, total: lower.length },
    });
  });

  test("names the id of an image without a tag, and moves a tag that another image had", async () => {
    await using scratch = newScratch();
    using fixture = openImages(scratch.path);
    const untagged = await tarOf([
      { name: "c.json", text: configFor([lower]) },
      { name: "l.tar", text: lower },
      { name: "manifest.json", text: manifest(["l.tar"], null, "c.json") },
    ]);
    const old = sha256(configFor([lower]));
    expect(await load(fixture, untagged)).toEqual([`Loaded image ID: ${old}\n`]);
    await fixture.images.tag(old, { repository: "app", tag: "v1" });
    expect(await load(fixture, await dockerArchive())).toEqual([
      `The image app:v1 already exists, renaming the old one with ID ${old} to empty string\n`,
      "Loaded image: app:v1\n",
    ]);
    expect(fixture.images.get(old).repoTags).toEqual([]);
  });

  test("of a layer that is here already does not need its bytes", async () => {
    await using scratch = newScratch();
    using fixture = openImages(scratch.path);
    await load(fixture, await dockerArchive());
    const other = configFor([lower, upper], { author: "another" });
    const archive = await tarOf([
      { name: "c.json", text: other },
      { name: "manifest.json", text: manifest(["one/layer.tar", "two/layer.tar"], ["b:2"], "c.json") },
    ]);
    expect(await load(fixture, archive)).toEqual(["Loaded image: b:2\n"]);
    expect(fixture.snapshots.layers()).toHaveLength(2);
  });
});

describe("loading an OCI layout", () => {
  const layers = [gzipSync(lower), gzipSync(upper)];

  test.each([
    [{ "io.containerd.image.name": "docker.io/library/app:v1" }, "Loaded image: app:v1\n"],
    [{ "org.opencontainers.image.ref.name": "localhost/app:v2" }, "Loaded image: localhost/app:v2\n"],
    [{ "org.opencontainers.image.ref.name": "v2" }, `Loaded image ID: ${id}\n`],
  ])("%p says %p", async (annotations, message) => {
    await using scratch = newScratch();
    using fixture = openImages(scratch.path);
    expect(await load(fixture, await tarOf(await ociLayout(layers, annotations)))).toEqual([message]);
    expect(fixture.images.get(id).layers).toHaveLength(2);
    for (const layer of layers) expect(fixture.content.has(sha256(layer))).toBe(true);
  });

  test("refuses a blob that is not what its name says", async () => {
    await using scratch = newScratch();
    using fixture = openImages(scratch.path);
    const members = await ociLayout(layers, {});
    const damaged = members.map((member) =>
      member.text === config ? { ...member, text: configFor([lower]) } : member,
    );
    await expect(load(fixture, await tarOf(damaged))).rejects.toThrow(id);
    expect(leftovers(fixture)).toEqual([]);
  });
});

describe("a wrong archive is refused, and leaves nothing", () => {
  const cases: [string, () => Promise<Uint8Array>, string | RegExp][] = [
    ["neither form", () => tarOf([{ name: "a", text: "b" }]), "neither manifest.json nor oci-layout"],
    ["of a Docker before 1.10", () => tarOf([{ name: "repositories", text: "{}" }]), "before 1.10"],
    [
      "a missing layer",
      () =>
        tarOf([
          { name: "c.json", text: config },
          { name: "manifest.json", text: manifest(["x", "y"], [], "c.json") },
        ]),
      "is missing in it and does not exist here",
    ],
    [
      "a layer of another diffID",
      () =>
        tarOf([
          { name: "c.json", text: config },
          { name: "one", text: lower },
          { name: "manifest.json", text: manifest(["one", "one"], [], "c.json") },
        ]),
      sha256(upper),
    ],
    [
      "one layer too few",
      () =>
        tarOf([
          { name: "c.json", text: config },
          { name: "one", text: lower },
          { name: "manifest.json", text: manifest(["one"], [], "c.json") },
        ]),
      "layers length mismatch: expected 2, got 1",
    ],
    [
      "a missing config",
      () => tarOf([{ name: "manifest.json", text: manifest([], [], "c.json") }]),
      '"c.json" is named in it',
    ],
    ["a manifest that is no JSON", () => tarOf([{ name: "manifest.json", text: "{" }]), "is no JSON"],
    ["a manifest that is no list", () => tarOf([{ name: "manifest.json", text: "{}" }]), "is no list"],
    [
      "a config of another shape",
      () =>
        tarOf([
          {
            name: "c.json",
            text: '{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:x"]}}',
          },
          { name: "manifest.json", text: manifest([], [], "c.json") },
        ]),
      "no list of sha256 digests",
    ],
    [
      "a tag that is none",
      () =>
        tarOf([
          { name: "c.json", text: configFor([]) },
          { name: "manifest.json", text: manifest([], ["A B:c"], "c.json") },
        ]),
      "invalid reference format",
    ],
    ["a link in a circle", () => tarOf([{ name: "manifest.json", linkTo: "manifest.json" }]), "leads in a circle"],
    ["a link out of it", () => tarOf([{ name: "a", linkTo: "../../etc/passwd" }]), "leads out of it"],
    ["a name out of it", () => tarOf([{ name: "../a", text: "" }]), /leads out of it|\.\./],
    ["cut short", async () => (await dockerArchive()).subarray(0, 5000), /./],
    [
      "Windows' image",
      () =>
        tarOf([
          { name: "c.json", text: configFor([], { os: "windows" }) },
          { name: "manifest.json", text: manifest([], [], "c.json") },
        ]),
      "cannot load windows image on linux",
    ],
  ];
  test.each(cases)("%s", async (_, archive, message) => {
    await using scratch = newScratch();
    using fixture = openImages(scratch.path);
    await expect(load(fixture, await archive())).rejects.toThrow(message);
    expect(leftovers(fixture)).toEqual([]);
  });

  test("every archive with one bit turned loads whole or not at all", async () => {
    await using scratch = newScratch();
    using fixture = openImages(scratch.path);
    const archive = await dockerArchive();
    for (let at = 100; at < archive.length; at += 997) {
      const damaged = Buffer.from(archive);
      damaged[at] = (damaged[at] ?? 0) ^ 0x10;
      const loaded = await load(fixture, damaged).catch(() => undefined);
      if (loaded) for (const image of fixture.images.list()) expect(image.layers).toHaveLength(2);
      for (const image of fixture.images.list()) {
        await fixture.images.remove(image.id, { force: true, noPrune: false, usedBy: () => [] });
      }
      await fixture.images.collect();
      expect(leftovers(fixture)).toEqual([]);
    }
  });
});

describe("saving", () => {
  test("gives an archive that loads elsewhere as the same image, and the same archive each time", async () => {
    await using scratch = newScratch();
    using from = openImages(scratch.path);
    await load(from, await dockerArchive());
    await from.images.tag(id, { repository: "localhost:5000/b", tag: "2" });
    const saved = await collectBytes(await from.images.save(["app", "localhost:5000/b:2"]));
    const again = await collectBytes(await from.images.save(["app", "localhost:5000/b:2"]));
    expect(saved.equals(again)).toBe(true);
    await using elsewhere = newScratch();
    using to = openImages(elsewhere.path);
    expect(await load(to, saved)).toEqual(["Loaded image: app:v1\n", "Loaded image: localhost:5000/b:2\n"]);
    expect(to.images.get("app:v1").id).toBe(id);
  });

  test("keeps the ids of layers that came compressed, from another packer", async () => {
    await using scratch = newScratch();
    using from = openImages(scratch.path);
    const members = await ociLayout([gzipSync(lower), gzipSync(upper)], { "io.containerd.image.name": "a:1" });
    await load(from, await tarOf(members));
    const saved = await collectBytes(await from.images.save(["a:1"]));
    await using elsewhere = newScratch();
    using to = openImages(elsewhere.path);
    expect(await load(to, saved)).toEqual(["Loaded image: a:1\n"]);
    expect(to.images.get("a:1").id).toBe(id);
  });

  test("a layer of another packer stays saveable under a container, when its image is gone", async () => {
    await using scratch = newScratch();
    using fixture = openImages(scratch.path);
    const { images, snapshots, content } = fixture;
    const unsorted = await tarOf([
      { name: "z", text: "z" },
      { name: "a", text: "a" },
    ]);
    const bytes = configFor([unsorted]);
    const archive = await tarOf([
      { name: "c.json", text: bytes },
      { name: "l.tar", text: unsorted },
      { name: "manifest.json", text: manifest(["l.tar"], ["a:1"], "c.json") },
    ]);
    for (let round = 0; round < 2; round++) {
      await load(fixture, archive);
      const { chainId = "" } = images.get("a:1");
      expect(content.has(sha256(unsorted))).toBe(true);
      if (round === 0) await snapshots.prepare("container", chainId);
      await images.remove("a:1", { force: true, noPrune: false, usedBy: () => [] });
      expect(content.has(sha256(unsorted))).toBe(true);
      await images.create(configFor([unsorted], { author: "commit" }), { layers: [chainId], reference: "b:1" });
      expect(await collectBytes(await images.save(["b:1"]))).not.toHaveLength(0);
      await images.remove("b:1", { force: true, noPrune: false, usedBy: () => [] });
    }
    await snapshots.remove("container");
    await images.collect();
    expect(leftovers(fixture)).toEqual([]);
  });

  test("an image by its id has no name in the archive", async () => {
    await using scratch = newScratch();
    using from = openImages(scratch.path);
    await load(from, await dockerArchive());
    const saved = await collectBytes(await from.images.save([hex.slice(0, 12)]));
    await using elsewhere = newScratch();
    using to = openImages(elsewhere.path);
    expect(await load(to, saved)).toEqual([`Loaded image ID: ${id}\n`]);
  });

  test("an unknown image is refused before anything is written", async () => {
    await using scratch = newScratch();
    using from = openImages(scratch.path);
    await expect(from.images.save(["nothing"])).rejects.toThrow("No such image: nothing");
  });
});
