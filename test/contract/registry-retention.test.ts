import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  readRetention,
  serveRegistry,
  type RegistryServer,
  type RegistryServerOptions,
} from "../../src/registry/index.ts";
import { sha256, smallImage } from "../support/oci-layout.ts";
import { indexType, manifestType, mustBe, pushBlob, pushImage, putManifest } from "../support/registry-calls.ts";
import { newScratch, type Scratch } from "../support/scratch.ts";

const main = join(import.meta.dir, "..", "..", "src", "main.ts");
const dayMs = 86_400_000;

/** Turns the clock of what is stored back: as if all pushes and pulls had been so long ago. */
function age(root: string, days: number): void {
  using db = new Database(join(root, "registry.db"));
  for (const [table, column] of [
    ["tags", "updated_at"],
    ["manifests", "created_at"],
    ["uses", "used_at"],
  ])
    db.exec(`UPDATE ${table} SET ${column} = ${column} - ${days * dayMs}`);
}

function rules(scratch: Scratch, list: unknown): string {
  const path = join(scratch.path, "rules.json");
  writeFileSync(path, JSON.stringify(list));
  return path;
}

async function serve(
  scratch: Scratch,
  list: unknown,
  extra: Partial<RegistryServerOptions> = {},
): Promise<RegistryServer> {
  const retention = readRetention(rules(scratch, list));
  return serveRegistry({ root: join(scratch.path, "root"), retention, collectEveryMs: 0, ...extra });
}

async function tagsOf(registry: RegistryServer, repository: string): Promise<string[]> {
  return ((await (await fetch(`${registry.url}/v2/${repository}/tags/list`)).json()) as { tags: string[] }).tags;
}

test("the last N tags of a pattern stay, those of other names and protected ones too, immutable ones are no exception", async () => {
  await using scratch = newScratch();
  const list = [{ repositories: ["team/*"], tags: ["pr-*"], protect: ["pr-1"], keepLast: 2 }];
  await using registry = await serve(scratch, list, { immutableTags: true });
  for (const repository of ["team/app", "other"]) {
    for (const tag of ["pr-1", "pr-2", "v1", "pr-3", "pr-4", "pr-5"]) {
      await pushImage(registry.url, repository, { image: smallImage(tag), tag });
    }
  }
  expect(await registry.collect()).toMatchObject({ tagsDeleted: 2, manifestsDeleted: 0 });
  expect(await tagsOf(registry, "team/app")).toEqual(["pr-1", "pr-4", "pr-5", "v1"]);
  expect(await tagsOf(registry, "other")).toHaveLength(6);
  expect((await registry.collect()).tagsDeleted).toBe(0);
});

test("old tags go, unless somebody pulled them, by tag or by digest", async () => {
  await using scratch = newScratch();
  await using registry = await serve(scratch, [{ olderThan: "240h", notPulledFor: "120h" }]);
  const image = (tag: string): ReturnType<typeof smallImage> => smallImage(tag);
  for (const tag of ["unused", "by-tag", "by-digest"]) await pushImage(registry.url, "a", { image: image(tag), tag });
  age(join(scratch.path, "root"), 9);
  expect((await registry.collect()).tagsDeleted).toBe(0);
  age(join(scratch.path, "root"), 2);
  await mustBe(200, await fetch(`${registry.url}/v2/a/manifests/by-tag`, { method: "HEAD" }));
  await mustBe(200, await fetch(`${registry.url}/v2/a/manifests/${image("by-digest").manifestDigest}`));
  await pushImage(registry.url, "a", { image: image("new"), tag: "new" });
  expect((await registry.collect()).tagsDeleted).toBe(1);
  expect(await tagsOf(registry, "a")).toEqual(["by-digest", "by-tag", "new"]);
});

test("manifests without a tag go after their time, but not the parts of an index, nor what is about an image that stays", async () => {
  await using scratch = newScratch();
  const grace = { limits: { graceMs: -1 } };
  await using registry = await serve(scratch, [{ untaggedAfter: "48h" }], grace);
  const [part, lost, moved] = [smallImage("part"), smallImage("lost"), smallImage("moved")];
  for (const image of [part, lost]) {
    for (const bytes of image.blobs.values()) await pushBlob(registry.url, "a", bytes);
    await mustBe(
      201,
      await putManifest(registry.url, `a/manifests/${image.manifestDigest}`, { bytes: image.manifest }),
    );
  }
  const json = (value: unknown): Uint8Array<ArrayBuffer> => new Uint8Array(Buffer.from(JSON.stringify(value)));
  const entry = { mediaType: manifestType, digest: part.manifestDigest, size: part.manifest.length };
  const index = json({ schemaVersion: 2, mediaType: indexType, manifests: [entry] });
  await mustBe(201, await putManifest(registry.url, "a/manifests/multi", { bytes: index, type: indexType }));
  const about = (subject: string): Uint8Array<ArrayBuffer> =>
    json({ ...(JSON.parse(Buffer.from(part.manifest).toString()) as object), subject: { ...entry, digest: subject } });
  const [kept, orphaned] = [about(sha256(index)), about(lost.manifestDigest)];
  for (const bytes of [kept, orphaned])
    await mustBe(201, await putManifest(registry.url, `a/manifests/${sha256(bytes)}`, { bytes }));
  await pushImage(registry.url, "a", { image: moved, tag: "latest" });
  age(join(scratch.path, "root"), 3);
  // Its time counts from here, not from its push.
  await pushImage(registry.url, "a", { image: smallImage("next"), tag: "latest" });
  expect(await registry.collect()).toMatchObject({ tagsDeleted: 0, manifestsDeleted: 2, blobsDeleted: 2 });
  const status = async (digest: string): Promise<number> =>
    (await fetch(`${registry.url}/v2/a/manifests/${digest}`)).status;
  for (const digest of [part.manifestDigest, sha256(index), sha256(kept), moved.manifestDigest])
    expect(await status(digest)).toBe(200);
  for (const digest of [lost.manifestDigest, sha256(orphaned)]) expect(await status(digest)).toBe(404);
});

test("the command says with --dry-run what would go and deletes nothing, and without it deletes, beside the server", async () => {
  await using scratch = newScratch();
  await using registry = await serveRegistry({ root: join(scratch.path, "root"), collectEveryMs: 0 });
  for (const tag of ["a", "b", "c"]) await pushImage(registry.url, "x", { image: smallImage(tag), tag });
  const file = rules(scratch, [{ tags: ["?"], keepLast: 1 }]);
  const run = (...words: string[]): ReturnType<typeof Bun.spawnSync> =>
    Bun.spawnSync([process.execPath, main, "registry", "retention", "--root", join(scratch.path, "root"), ...words]);
  const dry = run("--retention", file, "--dry-run").stdout?.toString() ?? "";
  expect(dry).toContain("would delete x:a (pushed 0 days ago, last used 0 days ago, not among the last 1)\n");
  expect(dry).toEndWith("2 tags and 0 manifests would go\n");
  expect(await tagsOf(registry, "x")).toEqual(["a", "b", "c"]);
  expect(run("--retention", file).stdout?.toString()).toEndWith(
    "2 tags and 0 manifests went; their blobs go with the next collection\n",
  );
  expect(await tagsOf(registry, "x")).toEqual(["c"]);
  expect(run().exitCode).toBe(125);
  expect(run("--retention", file, "--metrics").stderr?.toString()).toContain("--metrics is no option of retention");
});

test("rules that cannot be used are refused with the place of the fault", async () => {
  await using scratch = newScratch();
  for (const [list, words] of [
    [[{ tags: ["x"] }], "has no condition"],
    [[{ keepLast: -1 }], '"keepLast" of'],
    [[{ keepLast: 1, keep: 1 }], '"keep" of'],
    [[{ olderThan: "10d" }], 'unknown unit "d"'],
    [[{ keepLast: 1, repositories: ["../x"] }], '"../x" in "repositories"'],
    [{}, "is no list of objects"],
  ] as const) {
    expect(() => readRetention(rules(scratch, list))).toThrow(words);
  }
});
