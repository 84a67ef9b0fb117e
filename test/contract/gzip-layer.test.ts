import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "bun:test";
import { GrowingFile, gzipLayer } from "../../src/archive/index.ts";
import { collect, inChunks, shell } from "../support/raw-tar.ts";
import { newScratch } from "../support/scratch.ts";
import { waitFor } from "../support/test-engine.ts";

const mebibyte = 1024 * 1024;
const words = Buffer.from(Array.from({ length: 5 * mebibyte + 77 }, (_, index) => (index * index) >> 7));
const digestOf = (bytes: Uint8Array): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

function fileOf(folder: string, bytes: Uint8Array): GrowingFile {
  const path = join(folder, `plain-${bytes.length}`);
  writeFileSync(path, bytes);
  return GrowingFile.whole(path, { sizeBytes: bytes.length });
}

/** Processes of this one that compress. */
function compressors(): string[] {
  return readdirSync("/proc").filter((pid) => {
    try {
      const isOurs = readFileSync(`/proc/${pid}/stat`, "utf8").includes(`) S ${process.pid} `);
      return isOurs && readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("compress-layer");
    } catch {
      return false;
    }
  });
}

test("a layer of any size, as a stream or as a file, is gzip that gunzip takes, and always the same", async () => {
  await using scratch = newScratch();
  for (const length of [0, 1, mebibyte - 1, mebibyte, mebibyte + 1, 2 * mebibyte, words.length]) {
    const plain = words.subarray(0, length);
    const packed = await collect(gzipLayer(inChunks(plain, 300_000)));
    writeFileSync(join(scratch.path, "packed.gz"), packed);
    shell(scratch.path, "gzip -t packed.gz; gunzip -c packed.gz > back");
    expect(readFileSync(join(scratch.path, "back")).equals(plain)).toBe(true);
    const file = fileOf(scratch.path, plain);
    expect((await collect(gzipLayer(file, { digest: digestOf(plain) }))).equals(packed)).toBe(true);
  }
});

test("members hold a mebibyte each, without time or name", async () => {
  const packed = await collect(gzipLayer(inChunks(words)));
  const heads = [...packed.toString("latin1").matchAll(/\x1f\x8b\x08\0\0\0\0\0\0\xff/g)];
  expect(heads.length).toBe(Math.ceil(words.length / mebibyte));
});

test("a file that is not its digest's is refused, large or small", async () => {
  await using scratch = newScratch();
  for (const length of [100, words.length]) {
    const digest = digestOf(Buffer.from("other"));
    const packed = collect(gzipLayer(fileOf(scratch.path, words.subarray(0, length)), { digest }));
    await expect(packed).rejects.toThrow(`The blob "${digest}" is damaged on disk`);
  }
});

test("a source that fails, and a reader that leaves, end the process and the source", async () => {
  const broken = (async function* () {
    yield words;
    throw new Error("connection lost");
  })();
  await expect(collect(gzipLayer(broken))).rejects.toThrow("connection lost");
  const closed = Promise.withResolvers<string>();
  const endless = (async function* () {
    try {
      for (;;) yield words;
    } finally {
      closed.resolve("closed");
    }
  })();
  for await (const _ of gzipLayer(endless)) break;
  expect(await closed.promise).toBe("closed");
  await waitFor("no process to compress", () => compressors().length === 0);
});

test("a source is not read faster than its bytes are taken", async () => {
  let given = 0;
  const endless = (async function* () {
    for (; ; given++) yield words.subarray(0, mebibyte);
  })();
  const reader = gzipLayer(endless);
  await reader.next();
  // What the source gave when it has stood still.
  let before = -1;
  await waitFor("the source to wait", async () => {
    if (given === before) return true;
    before = given;
    await Bun.sleep(300);
    return false;
  });
  expect(given).toBeLessThan(40);
  await reader.return(undefined);
});
