import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Paths } from "../../src/common/index.ts";
import { ContentStore } from "../../src/content/index.ts";
import { collect, inChunks } from "../support/raw-tar.ts";
import { newScratch, type Scratch } from "../support/scratch.ts";

const mediaType = "application/octet-stream";

interface Place extends Scratch {
  readonly blobs: string;
  /** Another start of the engine on the same root. */
  open(): ContentStore;
}

function newPlace(): Place {
  const scratch = newScratch();
  const paths = new Paths(join(scratch.path, "root"), join(scratch.path, "run"));
  mkdirSync(paths.root);
  const db = new Database(paths.database);
  return Object.assign(scratch, {
    blobs: join(paths.content, "blobs/sha256"),
    open: () => new ContentStore({ paths, db }),
  });
}

function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

test("a blob is a file named by its digest, and comes back as it came", async () => {
  await using place = newPlace();
  const store = place.open();
  using lease = store.lease("test");
  const bytes = crypto.getRandomValues(new Uint8Array(60_000));
  const expected = { digest: digestOf(bytes), size: bytes.length };
  expect(await store.ingest(inChunks(bytes), { mediaType, expected, lease })).toEqual({ mediaType, ...expected });
  expect(readFileSync(join(place.blobs, expected.digest.slice(7))).equals(bytes)).toBe(true);
  expect((await collect(store.open(expected.digest))).equals(bytes)).toBe(true);
  expect(Buffer.from(store.readBytes(expected.digest)).equals(bytes)).toBe(true);
  expect([store.has(expected.digest), store.sizeOf(expected.digest)]).toEqual([true, 60_000]);
  expect(() => store.readBytes(expected.digest, 59_999)).toThrow("59999 is the limit");
});

test("another digest, another size and a source that breaks leave nothing", async () => {
  await using place = newPlace();
  const store = place.open();
  using lease = store.lease("test");
  const bytes = Buffer.from("content");
  const digest = digestOf(Buffer.from("other"));
  await expect(store.ingest(inChunks(bytes), { mediaType, expected: { digest }, lease })).rejects.toThrow(
    `The content should be "${digest}" and is "${digestOf(bytes)}"`,
  );
  for (const size of [6, 8]) {
    const expected = { digest: digestOf(bytes), size };
    await expect(store.ingest(inChunks(bytes, 2), { mediaType, expected, lease })).rejects.toThrow(
      `have ${size} bytes`,
    );
  }
  const broken = (async function* () {
    yield bytes;
    throw new Error("connection lost");
  })();
  await expect(store.ingest(broken, { mediaType, lease })).rejects.toThrow("connection lost");
  await expect(
    store.ingest(inChunks(bytes), { mediaType, expected: { digest: "sha256:../../x" }, lease }),
  ).rejects.toThrow("is no sha256 digest");
  expect(readdirSync(place.blobs)).toEqual([]);
  expect(readdirSync(join(place.blobs, "../../incoming"))).toEqual([]);
  expect(store.digests()).toEqual([]);
});

test("a blob that is here is not read again, and two that come at once are one", async () => {
  await using place = newPlace();
  const store = place.open();
  using lease = store.lease("test");
  const bytes = Buffer.from("twice");
  await Promise.all([1, 2].map(() => store.ingest(inChunks(bytes, 1), { mediaType, lease })));
  expect(store.digests()).toEqual([digestOf(bytes)]);
  let read = 0;
  const source = (async function* () {
    read++;
    yield bytes;
  })();
  await store.ingest(source, { mediaType, expected: { digest: digestOf(bytes) }, lease });
  expect(read).toBe(0);
});

test("collect deletes what is neither referenced nor leased, and a lease holds before the blob is whole", async () => {
  await using place = newPlace();
  const store = place.open();
  const [kept, leased, loose] = await Promise.all(
    ["kept", "leased", "loose"].map(async (text) => {
      using lease = store.lease("setup");
      return (await store.ingestBytes(Buffer.from(text), { mediaType, lease })).digest;
    }),
  );
  const lease = store.lease("pull");
  await store.ingestBytes(Buffer.from("leased"), { mediaType, lease });
  const isReferenced = (digest: string): boolean => digest === kept;
  expect(await store.collect(isReferenced)).toEqual({ deleted: [loose ?? ""], spaceReclaimed: 5 });
  expect([store.has(kept ?? ""), store.has(leased ?? ""), store.has(loose ?? "")]).toEqual([true, true, false]);
  lease[Symbol.dispose]();
  lease[Symbol.dispose]();
  expect((await store.collect(isReferenced)).deleted).toEqual([leased ?? ""]);
  expect(() => lease.add(leased ?? "")).toThrow('The lease "pull" is released');
  expect(readdirSync(place.blobs)).toEqual([(kept ?? "").slice(7)]);
});

test("a start sweeps away what no record names, and records whose file is gone or cut short", async () => {
  await using place = newPlace();
  const store = place.open();
  using lease = store.lease("test");
  const digests: string[] = [];
  for (const text of ["whole", "cut short", "gone"]) {
    digests.push((await store.ingestBytes(Buffer.from(text), { mediaType, lease })).digest);
  }
  const [whole = "", cut = "", gone = ""] = digests.map((digest) => digest.slice(7));
  truncateSync(join(place.blobs, cut), 2);
  Bun.spawnSync(["rm", join(place.blobs, gone)]);
  writeFileSync(join(place.blobs, "f".repeat(64)), "renamed, and then the power went");
  writeFileSync(join(place.blobs, "../../incoming/x"), "half");
  const next = place.open();
  expect(next.digests()).toEqual([`sha256:${whole}`]);
  expect(readdirSync(place.blobs)).toEqual([whole]);
  expect(existsSync(join(place.blobs, "../../incoming/x"))).toBe(false);
  // The leases of the engine that is gone hold nothing.
  expect((await next.collect(() => false)).deleted).toEqual([`sha256:${whole}`]);
});

test("a blob that was changed on disk is not handed out", async () => {
  await using place = newPlace();
  const store = place.open();
  using lease = store.lease("test");
  const { digest } = await store.ingestBytes(Buffer.from("content"), { mediaType, lease });
  writeFileSync(join(place.blobs, digest.slice(7)), "CONTENT");
  expect(() => store.readBytes(digest)).toThrow("is damaged on disk");
  truncateSync(join(place.blobs, digest.slice(7)), 3);
  expect(() => store.open(digest)).toThrow("does not have the 7 bytes");
  expect(() => store.open(`sha256:${"0".repeat(64)}`)).toThrow("No blob");
});
