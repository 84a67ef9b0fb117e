// `system check`: a store damaged in many ways, each of which is named, and mended as far as it can be.
import { Database } from "bun:sqlite";
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { publish, type Published } from "../support/published-image.ts";
import { RegistryFixture } from "../support/registry-fixture.ts";
import { startTestEngine, waitFor, type TestEngine } from "../support/test-engine.ts";

let engine: TestEngine;
let registry: RegistryFixture;
let app: Published;
let name: string;
let root: string;

beforeEach(async () => {
  [engine, registry] = await Promise.all([startTestEngine(), RegistryFixture.start()]);
  root = join(engine.scratch.path, "root");
  app = await publish(registry);
  name = `${registry.host}/app:v1`;
  await engine.must("pull", name);
}, 30_000);

afterEach(async () => {
  await Promise.all([engine[Symbol.asyncDispose](), registry[Symbol.asyncDispose]()]);
}, 30_000);

interface Report {
  Blobs: number;
  Layers: { Packed: number; Compared: number };
  Images: number;
  Findings: { Kind: string; Subject: string; Problem: string; Mended: boolean; CanMend: boolean; Failure?: string }[];
}

async function check(...words: string[]): Promise<Report> {
  const { stdout, stderr } = await engine.vitrine("system", "check", "--format", "json", ...words);
  if (stdout === "") throw new Error(stderr);
  return JSON.parse(stdout) as Report;
}

const problems = (report: Report): string[] => report.Findings.map(({ Kind, Problem }) => `${Kind}: ${Problem}`);
const blobPath = (digest: string): string => join(root, "content/blobs/sha256", digest.slice(7));
/** The directory of the layer that holds this file. */
function layerWith(file: string): string {
  const id = readdirSync(join(root, "overlay2")).find((each) => existsSync(join(root, "overlay2", each, "diff", file)));
  return join(root, "overlay2", id ?? "none", "diff");
}

test("a whole store is found whole, layers of another packer by comparison", async () => {
  const report = await check();
  expect(report.Findings).toEqual([]);
  expect([report.Layers.Packed + report.Layers.Compared, report.Images]).toEqual([2, 1]);
  const said = await engine.vitrine("system", "check");
  expect([said.exitCode, said.stdout]).toEqual([0, expect.stringContaining("Nothing is wrong.\n")]);
});

describe("a layer", () => {
  test.each([
    ["with a changed file", (diff: string) => writeFileSync(join(diff, "etc/two"), "2!!")],
    ["with a missing file", (diff: string) => rmSync(join(diff, "etc/two"))],
    ["with a file too much", (diff: string) => writeFileSync(join(diff, "etc/three"), "")],
    ["whose directory is gone", (diff: string) => rmSync(diff, { recursive: true })],
  ])("%s is named, and its image is moved away by name, until it is removed and pulled again", async (_, damage) => {
    damage(layerWith("etc/two"));
    const found = await check();
    expect(found.Findings.map(({ Kind }) => Kind)).toEqual(["layer", "image"]);
    const said = await engine.vitrine("system", "check");
    expect([said.exitCode, said.stdout]).toEqual([1, expect.stringContaining("--repair mends 1 of them")]);
    expect((await check("--repair")).Findings.map(({ Mended }) => Mended)).toEqual([false, true]);
    const moved = `broken/${registry.host.replace(":", "-")}/app:v1`;
    expect(await engine.must("images", "--format", "{{.Repository}}:{{.Tag}}")).toBe(moved);
    expect((await check()).Findings.map(({ Kind }) => Kind)).toEqual(["layer", "image"]);
    await engine.must("rmi", moved);
    await engine.must("pull", name);
    expect((await check()).Findings).toEqual([]);
  });
});

describe("a blob", () => {
  test("of a layer with wrong bytes is moved aside; the image stays and its layer is packed again for a push", async () => {
    const [, layer] = app.blobs.map((bytes) => `sha256:${new Bun.CryptoHasher("sha256").update(bytes).digest("hex")}`);
    const path = blobPath(layer ?? "");
    const size = statSync(path).size;
    writeFileSync(path, Buffer.alloc(size, 7));
    expect(problems(await check())[0]).toStartWith('blob: its bytes are "sha256:');
    expect((await check("--repair")).Findings[0]?.Mended).toBe(true);
    expect(readdirSync(join(root, "broken"))).toEqual([layer?.slice(7) ?? ""]);
    expect((await check()).Findings.filter(({ Kind }) => Kind === "blob")).toEqual([]);
  });

  test("of a config cut short takes the image with it, and says so", async () => {
    appendFileSync(blobPath(app.id), "x");
    const found = await check();
    expect(problems(found).join("\n")).toContain("image: its config is damaged or gone");
    await check("--repair");
    expect((await check()).Findings).toEqual([]);
    expect(await engine.must("images", "-q")).toBe("");
    expect(await engine.must("pull", "-q", name)).toBe(name);
    expect((await check()).Findings).toEqual([]);
  });

  test("of a manifest that is gone is forgotten, and the image stays", async () => {
    await engine.stop("SIGKILL");
    rmSync(blobPath(app.digest));
    await engine.start();
    expect(problems(await check())).toEqual(["blob: it is recorded with an image, and is not here"]);
    await check("--repair");
    expect((await check()).Findings).toEqual([]);
    expect(await engine.must("images", "-q", "--no-trunc")).toBe(app.id);
  });
});

test("names and records of what is not there are removed", async () => {
  const database = new Database(join(root, "engine.db"));
  const nobody = `sha256:${"ab".repeat(32)}`;
  database.run("INSERT INTO image_tags VALUES ('docker.io/library/ghost', 'v1', ?)", [nobody]);
  database.run("INSERT INTO image_manifests VALUES (?, ?, 'type', 1)", [nobody, app.digest]);
  database.close();
  const report = await check();
  expect(report.Findings.map(({ Kind, Subject }) => [Kind, Subject])).toEqual([
    ["reference", "ghost:v1"],
    ["record", `image_manifests ${app.digest}`],
  ]);
  await check("--repair");
  expect((await check()).Findings).toEqual([]);
});

test("what nothing names is removed once it is old enough to be nobody's, and a volume's folder is recorded again", async () => {
  const orphans = {
    blob: join(root, "content/blobs/sha256", "cd".repeat(32)),
    container: join(root, "containers", "ef".repeat(32)),
    layer: join(root, "overlay2", "0123"),
    link: join(root, "overlay2/l", "A".repeat(26)),
  };
  writeFileSync(orphans.blob, "nobody's");
  mkdirSync(orphans.container);
  mkdirSync(join(orphans.layer, "diff"), { recursive: true });
  symlinkSync("../gone/diff", orphans.link);
  mkdirSync(join(root, "volumes/found/_data"), { recursive: true });
  writeFileSync(join(root, "volumes/found/_data/file"), "of somebody\n");
  await engine.must("volume", "create", "empty");
  rmSync(join(root, "volumes/empty"), { recursive: true });
  await waitFor("the orphans to be old enough", async () => (await check()).Findings.length === 6, 20_000);
  const found = await check("--repair");
  expect(found.Findings.filter(({ Mended }) => !Mended)).toEqual([]);
  expect(
    found.Findings.filter(({ Kind }) => Kind === "orphan")
      .map(({ Subject }) => Subject)
      .sort(),
  ).toEqual(Object.values(orphans).sort());
  for (const path of Object.values(orphans)) expect(existsSync(path)).toBe(false);
  expect((await check()).Findings).toEqual([]);
  expect(await engine.must("volume", "ls", "-q")).toBe("empty\nfound");
  expect(await engine.must("images", "-q", "--no-trunc")).toBe(app.id);
}, 40_000);

test("a container whose read-write layer has no record is named", async () => {
  await engine.must("create", "--name", "box", name, "/none");
  const database = new Database(join(root, "engine.db"));
  database.run("DELETE FROM snapshots");
  database.close();
  const report = await check();
  expect(problems(report)).toContain("container: its read-write layer is gone");
  await engine.must("rm", "box");
});

test("on vfs, whose layers are whole trees, a changed file is found as well", async () => {
  await using other = await startTestEngine(["--storage-driver", "vfs"]);
  await other.must("pull", name);
  expect(await other.must("system", "check")).toContain("Nothing is wrong.");
  const trees = join(other.scratch.path, "root/vfs");
  const top = readdirSync(trees).find((id) => existsSync(join(trees, id, "root/etc/two")));
  writeFileSync(join(trees, top ?? "none", "root/etc/two"), "2!!");
  const found = await other.vitrine("system", "check");
  expect([found.exitCode, found.stdout]).toEqual([1, expect.stringContaining("is damaged")]);
});
