import { afterAll, beforeAll, expect, test } from "bun:test";
import { linkSync, mkdirSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { TestBuilder } from "../../support/build-fixture.ts";
import { newScratch } from "../../support/scratch.ts";
import type { ImageRecord } from "../../../src/image/index.ts";

const scratch = newScratch();
const context = join(scratch.path, "context");
const time = 1_500_000_000;
let builder: TestBuilder;

beforeAll(async () => {
  builder = new TestBuilder(scratch.path);
  await builder.importBase();
  mkdirSync(join(context, "d/deep"), { recursive: true });
  for (const name of ["d/c.txt", "d/deep/run", "d/first"]) writeFileSync(join(context, name), name);
  linkSync(join(context, "d/first"), join(context, "d/second"));
  for (const name of ["d/c.txt", "d/deep/run", "d/deep", "d"]) utimesSync(join(context, name), time, time);
});

afterAll(async () => {
  builder[Symbol.dispose]();
  await scratch[Symbol.asyncDispose]();
});

async function built(...lines: string[]): Promise<ImageRecord> {
  writeFileSync(join(context, "Dockerfile"), ["FROM test/base", ...lines, ""].join("\n"));
  const tar = Bun.spawn(["tar", "--owner=0", "--group=0", "-C", context, "-c", "."], { stdout: "pipe" });
  let id = "";
  for await (const message of builder.buildContext(tar.stdout)) {
    if (message.error !== undefined) throw new Error(message.error);
    const { ID } = (message.aux ?? {}) as { ID?: string };
    id = ID ?? id;
  }
  const image = builder.images.get(id);
  if (!image) throw new Error(`No image "${id}"`);
  return image;
}

/** What find(1) says of everything below a path of the image. */
async function found(image: ImageRecord, path: string, format: string): Promise<string[]> {
  const text = await builder.look(image, "find", `{}${path}`, "-mindepth", "1", "-printf", `${format}\\n`);
  return text.trim().split("\n").toSorted();
}

test("a folder's files become a layer's without a copy, and what a later step writes reaches no other layer", async () => {
  const image = await built(
    "COPY d /s/",
    "RUN busybox stat -c %h /s/c.txt > /links",
    "COPY d /t/",
    "RUN echo more >> /s/c.txt; chmod 700 /s/deep/run",
  );
  expect(await builder.look(image, "cat", "{}/links")).toBe("2\n");
  expect(await builder.look(image, "cat", "{}/s/c.txt", "{}/t/c.txt")).toBe("d/c.txtmore\nd/c.txt");
  expect(await found(image, "/t", "%P %y %m %U %Ts")).toEqual(
    expect.arrayContaining([`c.txt f 644 0 ${time}`, `deep d 755 0 ${time}`, `deep/run f 644 0 ${time}`]),
  );
  const inodes = await found(image, "/", "%P %i");
  const inode = (path: string): string | undefined => inodes.find((line) => line.startsWith(`${path} `))?.split(" ")[1];
  expect(inode("s/c.txt")).not.toBe(inode("t/c.txt"));
  expect(inode("s/deep/run")).not.toBe(inode("t/deep/run"));
  expect(inode("t/first")).toBe(inode("t/second") ?? "");
  expect(inode("s/first")).not.toBe(inode("t/first"));
});

test("only a file's own names are left once the context is deleted", async () => {
  const image = await built("COPY d /only/");
  const expected = ["c.txt 1", "deep/run 1", "first 2", "second 2"];
  for (;;) {
    const links = (await found(image, "/only", "%P %n %y")).filter((line) => line.endsWith(" f"));
    if (
      Bun.deepEquals(
        links,
        expected.map((line) => `${line} f`),
      )
    )
      break;
    await Bun.sleep(20);
  }
});

test("files that change their owner are copies, so that the context keeps its own for the next step", async () => {
  const image = await built("COPY --chown=1000:1001 d /u/", "COPY d /v/");
  expect(await found(image, "/u", "%P %U:%G")).toContain("c.txt 1000:1001");
  expect(await found(image, "/v", "%P %U:%G")).toContain("c.txt 0:0");
});

test("a folder that the image has already takes the files, in place of those of the same name", async () => {
  const image = await built(
    "RUN mkdir -p /w/deep; echo old > /w/c.txt; echo old > /w/deep/run; echo kept > /w/deep/kept",
    "COPY d /w/",
  );
  expect(await builder.look(image, "cat", "{}/w/c.txt", "{}/w/deep/run", "{}/w/deep/kept")).toBe(
    "d/c.txtd/deep/runkept\n",
  );
  expect(await found(image, "/w", "%P %Ts")).toContain(`deep ${time}`);
});
