// Flags of COPY and ADD beyond owner and octal mode, ONBUILD, and work that builds share.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { Builder } from "../../../src/build/index.ts";
import { TestBuilder } from "../../support/build-fixture.ts";
import type { TestFile } from "../../support/image-fixture.ts";
import { newScratch } from "../../support/scratch.ts";

const scratch = newScratch();
let builder: TestBuilder;

beforeAll(async () => {
  builder = new TestBuilder(scratch.path);
  await builder.importBase();
});

afterAll(async () => {
  builder[Symbol.dispose]();
  await scratch[Symbol.asyncDispose]();
});

const files: readonly TestFile[] = [
  { name: "src/" },
  { name: "src/a.txt", text: "a" },
  { name: "src/b.md", text: "b" },
  { name: "src/deep/" },
  { name: "src/deep/c.txt", text: "c", mode: 0o640 },
  { name: "src/deep/d.md", text: "d" },
];

/** `path mode` of everything below a folder of the image that the lines make. */
async function listed(lines: string, below: string): Promise<string[]> {
  const { image } = await builder.run([...files, { name: "Dockerfile", text: `FROM test/base\n${lines}\n` }]);
  const found = await builder.look(image, "find", `{}${below}`, "-mindepth", "1", "-printf", "%P %m\n");
  expect(builder.leftovers()).toEqual([]);
  return found.trim().split("\n").toSorted();
}

test("--exclude leaves files out of folders, and takes back what an exception says", async () => {
  expect(await listed("COPY --exclude=*.md --exclude=deep/*.md src /x", "/x")).toEqual([
    "a.txt 644",
    "deep 755",
    "deep/c.txt 640",
  ]);
  expect(await listed("COPY --exclude=deep --exclude=!deep/d.md src /y", "/y")).toEqual([
    "a.txt 644",
    "b.md 644",
    "deep 755",
    "deep/d.md 644",
  ]);
});

test("what is excluded is no part of the key", async () => {
  const text = "FROM test/base\nCOPY --exclude=*.md src /keyed\n";
  await builder.run([...files, { name: "Dockerfile", text }]);
  const changed = files.map((file) => (file.name === "src/b.md" ? { ...file, text: "other" } : file));
  expect((await builder.run([...changed, { name: "Dockerfile", text }])).text).toContain("Using cache");
});

test("--parents keeps the folders of a source, or those behind /./", async () => {
  expect(await listed("COPY --parents src/deep/c.txt src/a.txt /p/", "/p")).toEqual([
    "src 755",
    "src/a.txt 644",
    "src/deep 755",
    "src/deep/c.txt 640",
  ]);
  expect(await listed("COPY --parents src/./deep/c.txt /q/", "/q")).toEqual(["deep 755", "deep/c.txt 640"]);
});

test("--parents makes folders with the mode and owner that they have in the source, and its key knows them", async () => {
  const modes = (deep: number): TestFile[] => [
    { name: "tree/", mode: 0o711 },
    { name: "tree/deep/", mode: deep },
    { name: "tree/deep/file", text: "same" },
    { name: "tree/deep/folder/", mode: 0o1777 },
    { name: "tree/deep/folder/in", text: "in" },
  ];
  const stage =
    "FROM test/base AS from\nRUN mkdir -m 700 -p /a/b && chmod 2750 /a && chown 7:8 /a && echo x > /a/b/c\n";
  const copies = [
    "COPY --parents tree/deep/file tree/deep/folder /w/",
    "COPY --parents tree/./deep/file /v/",
    "COPY --parents --chown=3:4 --chmod=705 tree/deep/file /u/",
    "COPY --parents --from=from /a/b/c /t/",
    "COPY --parents tree/deep/file /v/",
  ].join("\n");
  const build = (deep: number): ReturnType<typeof builder.run> =>
    builder.run([...modes(deep), { name: "Dockerfile", text: `${stage}FROM test/base\n${copies}\n` }]);
  const first = await build(0o750);
  const places = ["w", "v", "u", "t"].map((place) => `{}/${place}`);
  const found = await builder.look(first.image, "find", ...places, "-type", "d", "-printf", "%H/%P %m %U:%G\n");
  const lines = found.trim().split("\n");
  expect(lines.map((line) => line.replace(/^.*\/(?=[wvut]\/)/, "")).toSorted()).toEqual([
    "t/ 755 0:0",
    "t/a 2750 7:8",
    "t/a/b 700 0:0",
    "u/ 755 3:4",
    "u/tree 705 3:4",
    "u/tree/deep 705 3:4",
    "v/ 755 0:0",
    "v/deep 750 0:0",
    "v/tree 711 0:0",
    "v/tree/deep 750 0:0",
    "w/ 755 0:0",
    "w/tree 711 0:0",
    "w/tree/deep 750 0:0",
    "w/tree/deep/folder 1777 0:0",
  ]);
  expect((await build(0o750)).image.id).toBe(first.image.id);
  const changed = (await build(0o700)).image;
  expect(await builder.look(changed, "stat", "-c", "%a", "{}/w/tree/deep")).toBe("700\n");
});

test("--chmod may be symbolic", async () => {
  expect(await listed("COPY --chmod=u=rwX,go=rX src /m", "/m")).toEqual([
    "a.txt 644",
    "b.md 644",
    "deep 755",
    "deep/c.txt 644",
    "deep/d.md 644",
  ]);
});

test("a layer of --link does not depend on what is below it", async () => {
  const dockerfile = (before: string): TestFile => ({
    name: "Dockerfile",
    text: `FROM test/base\nRUN echo ${before} > /before\nCOPY --link src/a.txt /linked/\n`,
  });
  const first = await builder.run([...files, dockerfile("one")]);
  const second = await builder.run([...files, dockerfile("two")]);
  const top = (result: typeof first): string | undefined => result.image.layers.at(-1)?.diffId;
  expect(top(second)).toBe(top(first) ?? "");
  expect(second.image.layers.at(-2)?.diffId).not.toBe(first.image.layers.at(-2)?.diffId ?? "");
  expect(second.text.split("Step 3/3")[1]).toContain("Using cache");
  expect(await builder.look(second.image, "cat", "{}/linked/a.txt", "{}/before")).toBe("atwo\n");
});

test("a trigger may copy from another image, and from a stage by name", async () => {
  const trigger = "FROM test/base\nONBUILD COPY --from=helper /h /from-helper\n";
  await builder.run([{ name: "Dockerfile", text: trigger }], { tags: ["test/trigger"] });
  const text = "FROM test/base AS helper\nRUN echo helped > /h\nFROM test/trigger\n";
  const { image } = await builder.run([{ name: "Dockerfile", text }]);
  expect(await builder.look(image, "cat", "{}/from-helper")).toBe("helped\n");
});

test("builds at the same time share the work that both need", async () => {
  const before = builder.executor.steps.length;
  const text = "FROM test/base\nRUN sleep 0.3; echo shared > /shared\n";
  const run = (): Promise<{ text: string }> => builder.run([{ name: "Dockerfile", text }]);
  const results = await Promise.all([run(), run(), run()]);
  expect(builder.executor.steps.length - before).toBe(1);
  expect(results.filter((result) => result.text.includes("Using cache"))).toHaveLength(2);
  expect(builder.leftovers()).toEqual([]);
});

test("who shares the work of a build that is cancelled takes it over", async () => {
  const all = [{ name: "Dockerfile", text: "FROM test/base\nRUN echo begun; sleep 0.5; echo taken > /taken\n" }];
  const abort = new AbortController();
  const begun = Promise.withResolvers<void>();
  const first = (async (): Promise<void> => {
    for await (const message of builder.build(all, { signal: abort.signal })) {
      if (message.stream === "begun\n") begun.resolve();
    }
  })().catch((error: unknown) => (error as Error).message);
  await begun.promise;
  let imageId = "";
  for await (const message of builder.build(all)) {
    // From here on the second waits for the first.
    if (message.stream?.startsWith("Step 2/2")) abort.abort();
    if (message.aux) imageId = (message.aux as { ID: string }).ID;
  }
  expect(await first).toBe("Build cancelled");
  expect(await builder.look(builder.images.get(imageId), "cat", "{}/taken")).toBe("taken\n");
  expect(builder.leftovers()).toEqual([]);
});

test("another engine on the same database finds the cache", async () => {
  const all = [{ name: "Dockerfile", text: "FROM test/base\nRUN echo kept > /kept\n" }];
  await builder.run(all);
  const { services } = builder.builder;
  expect(new Builder(services).cache.records().map(({ description }) => description)).toContain(
    "[2/2] RUN echo kept > /kept",
  );
});
