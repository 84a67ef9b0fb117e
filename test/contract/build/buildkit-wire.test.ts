import { expect, test } from "bun:test";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readMessages } from "../../../src/api/buildkit/grpc-frames.ts";
import { errorOf, readStatus, statusOf, statusTrailers } from "../../../src/api/buildkit/grpc-status.ts";
import {
  bigInteger,
  bytes,
  flag,
  integer,
  many,
  manyTexts,
  mapOf,
  message,
  one,
  text,
} from "../../../src/api/buildkit/protobuf.ts";
import { compareWalk } from "../../../src/api/buildkit/receive-folder.ts";
import { walkFolder } from "../../../src/api/buildkit/walk-folder.ts";
import { EngineError } from "../../../src/common/index.ts";
import { newScratch } from "../../support/scratch.ts";
import { toWire, wireMap, WireReader } from "../../support/protobuf-wire.ts";

const inner = message<{ name: string; size: number }>({ name: text(1), size: integer(2) });
const sample = message<{
  name: string;
  size: number;
  time: bigint;
  on: boolean;
  data: Uint8Array;
  inner: { name: string; size: number } | undefined;
  list: readonly { name: string; size: number }[];
  words: readonly string[];
  map: ReadonlyMap<string, string>;
}>({
  name: text(1),
  size: integer(2),
  time: bigInteger(3),
  on: flag(4),
  data: bytes(5),
  inner: one(6, inner),
  list: many(7, inner),
  words: manyTexts(8),
  map: mapOf(9, text),
});

test("messages are what another encoder writes and another decoder reads", () => {
  const foreign = toWire([
    [1, "naïve"],
    [2, -5],
    [3, 1_763_776_800_123_456_789n],
    [4, true],
    [5, Buffer.from([0, 255])],
    [
      6,
      [
        [1, "in"],
        [2, 2 ** 40],
      ],
    ],
    [7, [[1, "a"]]],
    [7, [[2, 7]]],
    [8, "x"],
    [8, "y"],
    ...wireMap(9, { k: "v", __proto__x: "w" }),
    [99, "a field of tomorrow"],
  ]);
  const value = sample.decode(foreign);
  expect(value).toMatchObject({
    name: "naïve",
    size: -5,
    time: 1_763_776_800_123_456_789n,
    on: true,
    words: ["x", "y"],
  });
  expect(value.inner).toEqual({ name: "in", size: 2 ** 40 });
  expect(value.list).toEqual([
    { name: "a", size: 0 },
    { name: "", size: 7 },
  ]);
  expect(Object.fromEntries(value.map)).toEqual({ k: "v", __proto__x: "w" });
  const own = new WireReader(sample.encode(value));
  expect(own.text(1)).toBe("naïve");
  expect(Buffer.from(sample.encode({ size: -5 })).toString("hex")).toBe("10fbffffffffffffffff01");
  expect(own.messages(7).map((part) => [part.text(1), part.integer(2)])).toEqual([
    ["a", 0],
    ["", 7],
  ]);
  expect(own.map(9)).toEqual({ k: "v", __proto__x: "w" });
});

test("bytes that are no message are refused, whatever they are", () => {
  for (const bad of ["0a", "0a05", "08", "08ffffffffffffffffffffff01", "0b", "0d0000", "0900", "1001ff"]) {
    expect(() => sample.decode(Buffer.from(bad, "hex"))).toThrow(EngineError);
  }
  let random = 12_345;
  for (let round = 0; round < 3000; round += 1) {
    const noise = Buffer.alloc(round % 40);
    for (let at = 0; at < noise.length; at += 1)
      noise[at] = (random = (random * 1_103_515_245 + 12_345) % 2 ** 31) >> 16;
    try {
      sample.decode(noise);
    } catch (error) {
      expect(error).toBeInstanceOf(EngineError);
    }
  }
});

test("gRPC's frames are cut anywhere, and refused when compressed, too large or cut off", async () => {
  const collect = async (chunks: readonly Uint8Array[]): Promise<string[]> => {
    const found: string[] = [];
    const source = (async function* () {
      yield* chunks;
    })();
    for await (const one of readMessages(source)) found.push(Buffer.from(one).toString());
    return found;
  };
  const whole = Buffer.concat([frame("one"), frame(""), frame("three")]);
  for (let at = 0; at <= whole.length; at += 1) {
    expect(await collect([whole.subarray(0, at), whole.subarray(at)])).toEqual(["one", "", "three"]);
  }
  expect(await collect([...whole].map((byte) => Uint8Array.of(byte)))).toEqual(["one", "", "three"]);
  expect(collect([Buffer.from("0100000001ff", "hex")])).rejects.toThrow("compressed");
  expect(collect([Buffer.from("00ffffffff", "hex")])).rejects.toThrow("is over");
  expect(collect([whole.subarray(0, 4)])).rejects.toThrow("inside a message");
});

function frame(message: string): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(Buffer.byteLength(message), 1);
  return Buffer.concat([head, Buffer.from(message)]);
}

test("a failure keeps its code and its words on the way through gRPC's status", () => {
  for (const code of ["invalidArgument", "notFound", "cancelled", "unsupported", "unavailable", "conflict"] as const) {
    const status = readStatus(statusTrailers(statusOf(new EngineError(code, 'no "é" at 100 %\nat all'))));
    expect(status && errorOf(status)).toMatchObject({ code, message: 'no "é" at 100 %\nat all' });
  }
});

test("a folder is walked in the protocol's order, with filters, exceptions and what symlinks lead to", async () => {
  await using scratch = newScratch();
  for (const path of ["a/x", "a-b", "a.c/y", "é", "z", "skip/no", "skip/yes", "real/target", "empty/.keep"]) {
    mkdirSync(join(scratch.path, path, ".."), { recursive: true });
    writeFileSync(join(scratch.path, path), path);
  }
  symlinkSync("real/target", join(scratch.path, "link"));
  const paths = (filter: Partial<Parameters<typeof walkFolder>[1]>): string[] =>
    [...walkFolder(scratch.path, { include: [], exclude: [], followPaths: [], ...filter })].map(({ path }) => path);
  const all = paths({});
  expect(all.toSorted(compareWalk)).toEqual(all);
  expect(all.slice(0, 5)).toEqual(["a", "a/x", "a-b", "a.c", "a.c/y"]);
  expect(paths({ exclude: ["skip/*", "!skip/yes", "a*"] })).not.toContain("skip/no");
  expect(paths({ exclude: ["skip/*", "!skip/yes"] })).toContain("skip/yes");
  expect(paths({ include: ["z", "a/*"] })).toEqual(["a", "a/x", "z"]);
  expect(paths({ include: ["nothing/here"] })).toEqual([]);
  expect(paths({ followPaths: ["link"] })).toEqual(["link", "real", "real/target"]);
});
