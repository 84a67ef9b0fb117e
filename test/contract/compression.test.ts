import { expect, test } from "bun:test";
import { join } from "node:path";
import { compress, decompress, detectCompression, hashingStream } from "../../src/archive/index.ts";
import { collect, inChunks, shell } from "../support/raw-tar.ts";
import { newScratch } from "../support/scratch.ts";

const plain = Buffer.from(Array.from({ length: 200_000 }, (_, index) => (index * index) & 0xff));
const unpack = (bytes: Uint8Array, size?: number): Promise<Buffer> => collect(decompress(inChunks(bytes, size)));

async function tool(command: string, input: Uint8Array): Promise<Buffer> {
  await using scratch = newScratch();
  await Bun.write(join(scratch.path, "in"), input);
  shell(scratch.path, `${command} < in > out`);
  return Buffer.from(await Bun.file(join(scratch.path, "out")).arrayBuffer());
}

for (const kind of ["xz", "bzip2"] as const) {
  test(`${kind}: what the tool packs unpacks here, members in a row too, and a cut or damaged stream is refused`, async () => {
    const packed = await tool(`${kind} -c`, plain);
    expect(detectCompression(packed)).toBe(kind);
    for (const size of [4096, 1_000_000]) expect((await unpack(packed, size)).equals(plain)).toBe(true);
    expect((await unpack(Buffer.concat([packed, packed]))).length).toBe(plain.length * 2);
    for (const length of [20, packed.length >> 1, packed.length - 1]) {
      await expect(unpack(packed.subarray(0, length))).rejects.toThrow(`its ${kind} stream is damaged`);
    }
  });

  test(`${kind}: its program is nobody and ends with its reader; where it is missing it is named with its package`, async () => {
    const packed = await tool(`head -c 50000000 /dev/zero | ${kind} -c`, plain);
    const children = (): string[] => shell("/", `ps -o user=,comm= --ppid ${process.pid}`).trim().split("\n");
    const reader = decompress(inChunks(packed, 4096))[Symbol.asyncIterator]();
    await reader.next();
    expect(children().map((line) => line.split(/\s+/))).toContainEqual(["nobody", kind]);
    await reader.return(undefined);
    expect(children().some((line) => line.endsWith(kind))).toBe(false);
    const path = process.env.PATH;
    process.env.PATH = "/nowhere";
    try {
      const inPackage = { xz: "xz-utils", bzip2: "bzip2" }[kind];
      await expect(unpack(packed)).rejects.toThrow(`on Debian it is in the package ${inPackage}`);
    } finally {
      process.env.PATH = path;
    }
  });
}

for (const kind of ["gzip", "zstd"] as const) {
  test(`${kind}: what the tool packs unpacks here, and the other way round`, async () => {
    const packed = await tool(`${kind} -c`, plain);
    expect(detectCompression(packed)).toBe(kind);
    for (const size of [1, 4096, 1_000_000]) {
      if (size > 1 || packed.length < 50_000) expect((await unpack(packed, size)).equals(plain)).toBe(true);
    }
    const ours = await collect(compress(inChunks(plain), kind));
    expect((await tool(`${kind} -dc`, ours)).equals(plain)).toBe(true);
    expect((await collect(compress(inChunks(plain), kind))).equals(ours)).toBe(true);
  });

  test(`${kind}: members in a row are one stream; a cut or damaged one is refused`, async () => {
    const packed = await collect(compress(inChunks(plain), kind));
    expect((await unpack(Buffer.concat([packed, packed]))).length).toBe(plain.length * 2);
    for (const length of [10, packed.length >> 1, packed.length - 1]) {
      await expect(unpack(packed.subarray(0, length))).rejects.toThrow(`its ${kind} stream is damaged`);
    }
    await expect(unpack(Buffer.concat([packed, packed.subarray(0, 20)]))).rejects.toThrow("is damaged");
    const flipped = Buffer.from(packed);
    const middle = packed.length >> 1;
    flipped[middle] = (flipped[middle] ?? 0) ^ 0xff;
    // zstd without a checksum may decode to other bytes; digests are what tells then.
    const outcome = await unpack(flipped).then(
      (bytes) => !bytes.equals(plain),
      () => true,
    );
    expect(outcome).toBe(true);
  });
}

test("plain bytes pass unchanged, also fewer than a magic number has", async () => {
  for (const bytes of [Buffer.alloc(0), Buffer.from("ab"), plain])
    expect((await unpack(bytes)).equals(bytes)).toBe(true);
});

test("a source's own error passes unchanged, and a reader that leaves closes the source", async () => {
  for (const kind of ["gzip", "zstd"] as const) {
    const packed = await collect(compress(inChunks(plain), kind));
    const broken = (async function* () {
      yield packed.subarray(0, 100);
      throw new Error("connection lost");
    })();
    await expect(collect(decompress(broken))).rejects.toThrow("connection lost");
    const closed = Promise.withResolvers<string>();
    const endless = (async function* () {
      try {
        for (;;) yield packed;
      } finally {
        closed.resolve("closed");
      }
    })();
    for await (const _ of decompress(endless)) break;
    expect(await closed.promise).toBe("closed");
  }
});

test("hashingStream tells digest and size of what passed", async () => {
  const hashed = hashingStream(inChunks(Buffer.from("hello")));
  expect((await collect(hashed.stream)).toString()).toBe("hello");
  const digest = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
  expect([hashed.digest(), hashed.digest(), hashed.size()]).toEqual([digest, digest, 5]);
});
