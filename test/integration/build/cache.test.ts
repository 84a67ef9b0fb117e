import { afterAll, beforeAll, expect, test } from "bun:test";
import { packEntries, tarHeader } from "../../../src/archive/index.ts";
import { pruneCache } from "../../../src/build/index.ts";
import { TestBuilder, type TestBuildOptions } from "../../support/build-fixture.ts";
import { once } from "../../support/image-fixture.ts";
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

interface File {
  readonly name: string;
  readonly text: string;
  readonly mode?: number;
  readonly mtimeNs?: bigint;
  readonly uid?: number;
}

/** A context whose files have the times and owners that a test gives them. */
function contextOf(files: readonly File[]): AsyncIterable<Uint8Array> {
  return packEntries(
    (async function* () {
      for (const { name, text, mode = 0o644, mtimeNs = 1n, uid = 0 } of files) {
        const body = Buffer.from(text);
        yield { header: tarHeader({ name, type: "file", mode, mtimeNs, uid, size: body.length }), body: once(body) };
      }
    })(),
  );
}

/** For each step that may be cached: whether it was. */
async function build(files: readonly File[], options: TestBuildOptions = {}): Promise<{ hits: string; id: string }> {
  let text = "";
  let id = "";
  for await (const message of builder.buildContext(contextOf(files), options)) {
    text += message.stream ?? "";
    if (message.aux) id = (message.aux as { ID: string }).ID;
  }
  const steps = text.split(/^Step \d+\/\d+ : /m).filter((step) => !/^($|FROM|ARG \w+=?\w*\nStep)/.test(step));
  return { hits: steps.map((step) => (step.includes("Using cache") ? "y" : "n")).join(""), id };
}

test("the same build again is taken from the cache, whatever times its files have", async () => {
  const dockerfile = { name: "Dockerfile", text: "FROM test/base\nCOPY a sub/b /d/\nRUN cat /d/a\nENV X=1\n" };
  const files = [dockerfile, { name: "a", text: "1" }, { name: "sub/b", text: "2" }];
  const first = await build(files);
  expect(first.hits).toBe("nnn");
  expect(await build(files)).toEqual({ hits: "yyy", id: first.id });
  const touched = files.map((file) => ({ ...file, mtimeNs: 1_700_000_000_000_000_000n }));
  expect(await build(touched)).toEqual({ hits: "yyy", id: first.id });
});

test("a file's content, mode or owner makes a COPY and what follows run again", async () => {
  const dockerfile = { name: "Dockerfile", text: "FROM test/base\nENV Y=1\nCOPY . /d2/\nRUN ls /d2\n" };
  const file = { name: "f", text: "one" };
  expect((await build([dockerfile, file])).hits).toBe("nnn");
  expect((await build([dockerfile, { ...file, text: "two" }])).hits).toBe("ynn");
  expect((await build([dockerfile, { ...file, mode: 0o755 }])).hits).toBe("ynn");
  expect((await build([dockerfile, { ...file, uid: 7 }])).hits).toBe("ynn");
  expect((await build([dockerfile, { ...file, name: "g" }])).hits).toBe("ynn");
  expect((await build([dockerfile, file])).hits).toBe("yyy");
});

test("a file that no instruction copies changes nothing", async () => {
  const dockerfile = { name: "Dockerfile", text: "FROM test/base\nCOPY used /u\n" };
  const used = { name: "used", text: "u" };
  expect((await build([dockerfile, used, { name: "unused", text: "1" }])).hits).toBe("n");
  expect((await build([dockerfile, used, { name: "unused", text: "2" }])).hits).toBe("y");
});

test("an ARG's value makes what follows its declaration run again, and stands in the history", async () => {
  const dockerfile = { name: "Dockerfile", text: "FROM test/base\nRUN true\nARG A=b\nRUN echo $A\n" };
  const first = await build([dockerfile]);
  expect(first.hits).toBe("nnn");
  const other = await build([dockerfile], { arguments: { A: "c" } });
  expect(other.hits).toBe("yyn");
  expect(builder.images.get(other.id).config.history?.at(-1)?.created_by).toBe("|1 A=c /bin/sh -c echo $A");
  expect(await build([dockerfile])).toEqual({ hits: "yyy", id: first.id });
});

test("a predefined argument is in the environment and not in the key", async () => {
  const dockerfile = { name: "Dockerfile", text: "FROM test/base\nRUN echo proxy=$HTTP_PROXY\n" };
  const first = await build([dockerfile], { arguments: { HTTP_PROXY: "http://one" } });
  expect(builder.executor.steps.at(-1)?.config.Env).toContain("HTTP_PROXY=http://one");
  expect(await build([dockerfile], { arguments: { HTTP_PROXY: "http://two" } })).toEqual({ hits: "y", id: first.id });
});

test("an ENV before the same RUN, and --network of a RUN, are part of the key", async () => {
  expect((await build([{ name: "Dockerfile", text: "FROM test/base\nRUN echo key\n" }])).hits).toBe("n");
  expect((await build([{ name: "Dockerfile", text: "FROM test/base\nRUN --network=none echo key\n" }])).hits).toBe("n");
  expect(builder.executor.steps.at(-1)?.networkMode).toBe("none");
  expect((await build([{ name: "Dockerfile", text: "FROM test/base\nENV Q=1\nRUN echo key\n" }])).hits).toBe("nn");
});

test("no-cache runs every step again, and its images are the newest", async () => {
  const files = [{ name: "Dockerfile", text: "FROM test/base\nRUN echo again\nCMD x\n" }];
  const first = await build(files);
  const second = await build(files, { noCache: true });
  expect(second.hits).toBe("nn");
  expect(second.id).not.toBe(first.id);
  expect(await build(files)).toEqual({ hits: "yy", id: second.id });
});

test("a step whose image was removed is still cached, and runs again once the cache is pruned", async () => {
  const files = [{ name: "Dockerfile", text: "FROM test/base\nRUN echo removed > /removed\n" }];
  const first = await build(files);
  const remove = (id: string) => builder.images.remove(id, { force: true, noPrune: false, usedBy: () => [] });
  await remove(first.id);
  expect(await build(files)).toEqual({ hits: "y", id: first.id });
  await remove(first.id);
  const { cache, cacheMounts } = builder.builder;
  const parts = { cache, cacheMounts, images: builder.images, snapshots: builder.snapshots };
  const { deleted } = await pruneCache(parts, { all: true, filters: new Map() });
  expect(deleted.length).toBeGreaterThan(0);
  expect((await build(files)).hits).toBe("n");
});

test("files of a stage are compared by content, so a stage that was made again may still hit", async () => {
  const text = "FROM test/base AS one\nRUN echo same > /same\nFROM test/base\nCOPY --from=one /same /copy\n";
  const files = [{ name: "Dockerfile", text }];
  expect((await build(files)).hits).toBe("nn");
  expect((await build(files)).hits).toBe("yy");
  const changed = text.replace("RUN", "ENV Z=1\nRUN").replace("echo same", "(echo -n sa; echo me)");
  expect((await build([{ name: "Dockerfile", text: changed }])).hits).toBe("nny");
  expect(builder.leftovers()).toEqual([]);
});

test("a folder of another stage is found again, whether its files were looked at or remembered", async () => {
  const files = [
    {
      name: "Dockerfile",
      text: "FROM test/base AS made\nRUN mkdir /out && echo made > /out/file\nFROM test/base\nCOPY --from=made /out /out\n",
    },
  ];
  const first = await build(files);
  expect(first.hits).toBe("nn");
  expect(await build(files)).toEqual({ hits: "yy", id: first.id });
});

test("a build that takes the cache over its budget drops what was used least recently", async () => {
  await using own = newScratch();
  using small = new TestBuilder(own.path, { cacheBudgetBytes: 250_000 });
  await small.importBase();
  const of = async (name: string): Promise<string> => {
    const context = [
      { name: "Dockerfile", text: `FROM test/base\nCOPY ${name} /\n` },
      { name, text: name.repeat(100_000) },
    ];
    return (await small.run(context)).text;
  };
  for (const name of ["a", "b", "a", "c"]) await of(name);
  expect(small.builder.cache.sizeBytes()).toBeLessThanOrEqual(250_000);
  expect(
    small.builder.cache
      .records()
      .map(({ description }) => description.split(" ").at(-2))
      .sort(),
  ).toEqual(["a", "c"]);
  expect(await of("a")).toContain("Using cache");
  expect(await of("b")).not.toContain("Using cache");
});
