import { afterAll, beforeAll, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { EngineError } from "../../../src/common/index.ts";
import type { ImageRecord } from "../../../src/image/image-record.ts";
import { TestBuilder } from "../../support/build-fixture.ts";
import { once } from "../../support/image-fixture.ts";
import { rawEntry, rawTar, type RawEntry } from "../../support/raw-tar.ts";
import { newScratch, type Scratch } from "../../support/scratch.ts";

let scratch: Scratch;
let builder: TestBuilder;
let outside = "";

beforeAll(async () => {
  scratch = newScratch();
  builder = new TestBuilder(scratch.path);
  await builder.importBase();
  outside = join(scratch.path, "outside");
  mkdirSync(outside);
  writeFileSync(join(outside, "secret"), "of the host");
}, 30_000);

afterAll(async () => {
  builder[Symbol.dispose]();
  await scratch[Symbol.asyncDispose]();
});

const dockerfile = (text: string): RawEntry => ({ name: "Dockerfile", body: `FROM test/base\n${text}\n` });

/** The image of a context, or why there is none; nothing may be left either way. */
async function outcome(context: Uint8Array): Promise<ImageRecord | EngineError> {
  let id = "";
  try {
    for await (const message of builder.buildContext(once(context))) {
      if (message.aux) id = (message.aux as { ID: string }).ID;
    }
    return builder.images.get(id);
  } catch (error) {
    if (error instanceof EngineError) return error;
    throw error;
  } finally {
    expect(builder.leftovers()).toEqual([]);
    expect(readdirSync(outside)).toEqual(["secret"]);
    expect(readFileSync(join(outside, "secret"), "utf8")).toBe("of the host");
  }
}

async function built(...entries: RawEntry[]): Promise<ImageRecord> {
  const image = await outcome(rawTar(...entries));
  if (image instanceof EngineError) throw image;
  return image;
}

async function refused(...entries: RawEntry[]): Promise<string> {
  const error = await outcome(rawTar(...entries));
  if (error instanceof EngineError) return error.message;
  throw new Error("It was to be refused");
}

test("members that climb out by their names or through links write nothing outside of the context", async () => {
  const climb = `../../../../../../../../../..${outside}/climbed`;
  const attempts: RawEntry[][] = [
    [{ name: climb, body: "x" }],
    [{ name: `${outside}/absolute`, body: "x" }],
    [
      { name: "link", flag: "2", link: outside },
      { name: "link/through", body: "x" },
    ],
    [
      { name: "link", flag: "2", link: `${outside}/secret` },
      { name: "link", body: "over" },
    ],
    [
      { name: "up", flag: "2", link: "../../../.." },
      { name: `up${outside}/through`, body: "x" },
    ],
  ];
  for (const entries of attempts) await outcome(rawTar(dockerfile("RUN true"), ...entries));
});

test("hard links to files of the host are refused, and symlinks to them lead nowhere", async () => {
  const hard = await refused(dockerfile("COPY taken /taken"), {
    name: "taken",
    flag: "1",
    link: `../../../../..${outside}/secret`,
  });
  expect(hard).not.toContain("of the host");
  for (const link of [`${outside}/secret`, `../../../../../../..${outside}/secret`]) {
    expect(await refused(dockerfile("COPY taken /taken"), { name: "taken", flag: "2", link })).toContain("taken");
    const image = await built(dockerfile("COPY folder /folder"), { name: "folder/taken", flag: "2", link });
    expect(await builder.look(image, "readlink", "{}/folder/taken")).toBe(`${link}\n`);
  }
  expect(await refused(dockerfile("COPY ../outside/secret /taken"))).toContain(
    "Forbidden path outside the build context".slice(1),
  );
});

test("a Dockerfile that is a link, a pipe or a folder is refused", async () => {
  expect(await refused({ name: "Dockerfile", flag: "2", link: `${outside}/secret` })).toContain("Dockerfile");
  expect(await refused({ name: "Dockerfile", flag: "6" })).toBe('"Dockerfile" in the build context is no file');
  expect(await refused({ name: "Dockerfile/", flag: "5", mode: 0o755 })).toBe(
    '"Dockerfile" in the build context is no file',
  );
  expect(await refused({ name: "Dockerfile", flag: "2", link: "Dockerfile" })).toContain("Dockerfile");
});

test("a pipe in the context hangs nothing: alone it is refused, in a folder it stays a pipe", async () => {
  expect(await refused(dockerfile("COPY pipe /pipe"), { name: "pipe", flag: "6" })).toContain(
    '"pipe" is a fifo, not a file',
  );
  const image = await built(
    dockerfile("COPY folder /folder"),
    { name: "folder/pipe", flag: "6" },
    { name: "folder/file", body: "x" },
  );
  expect(await builder.look(image, "stat", "-c", "%F", "{}/folder/pipe")).toBe("fifo\n");
});

test("a device in the context is not read", async () => {
  const device: RawEntry = { name: "zero", flag: "3", device: [1, 5] };
  expect(await refused(dockerfile("COPY zero /zero"), device)).toContain('"zero" is a character');
});

test("loops of links end with an error", async () => {
  const links: RawEntry[] = [
    { name: "one", flag: "2", link: "two" },
    { name: "two", flag: "2", link: "one" },
  ];
  expect(await refused(dockerfile("COPY one /one"), ...links)).toContain("one");
  const image = await built(dockerfile("COPY folder /folder"), { name: "folder/self", flag: "2", link: "self" });
  expect(await builder.look(image, "readlink", "{}/folder/self")).toBe("self\n");
});

test("a context that is cut short, or that has more or less in a file than its header says, is refused", async () => {
  const whole = rawTar(dockerfile("COPY file /file"), { name: "file", body: "x".repeat(5000) });
  const short = await outcome(whole.subarray(0, 2000));
  expect(short).toBeInstanceOf(EngineError);
  const lying = Buffer.concat([
    rawEntry(dockerfile("COPY file /file")),
    rawEntry({ name: "file", body: "x".repeat(600), size: 512 }),
    Buffer.alloc(1024),
  ]);
  expect(await outcome(lying)).toBeInstanceOf(EngineError);
  expect(await outcome(Buffer.from("no archive at all".repeat(100)))).toBeInstanceOf(EngineError);
});

test("names that are no text are copied as they are", async () => {
  const name = Buffer.concat([Buffer.from("folder/"), Buffer.from([0xff, 0x0a, 0x5c])]);
  const image = await built(dockerfile("COPY folder /folder"), { name: "x", pax: { path: name }, body: "odd" });
  const listed = await builder.look(image, "sh", "-c", "ls -A --quoting-style=c {}/folder; cat {}/folder/*");
  expect(listed).toBe('"\\377\\n\\\\"\nodd');
  const chosen = await built(dockerfile("COPY folder/* /"), { name: "x", pax: { path: name }, body: "odd" });
  expect(await builder.look(chosen, "sh", "-c", 'cat "{}/$(printf "\\377\\n\\134")"')).toBe("odd");
});

test("a file that becomes a pipe or goes while a folder is read ends the reading, not the engine", async () => {
  const { SourceTree } = await import("../../../src/build/source-tree.ts");
  const root = join(scratch.path, "live");
  mkdirSync(root);
  for (let index = 0; index < 200; index++) writeFileSync(join(root, `file${String(index).padStart(3, "0")}`), "x");
  using tree = new SourceTree(root, { isContext: true });
  const reading = tree.resolve(".", { signal: undefined }).then(
    () => "read",
    (error: unknown) => error,
  );
  // The reader gives others their turn between files: what it has not come to is replaced meanwhile.
  expect(
    Bun.spawnSync(["sh", "-c", `cd ${root} && rm file19* && mkfifo file199 && ln -s /etc/passwd file198`]).exitCode,
  ).toBe(0);
  const ended = await reading;
  expect(ended === "read" || ended instanceof EngineError).toBe(true);
  expect(existsSync(join(root, "file000"))).toBe(true);
});
