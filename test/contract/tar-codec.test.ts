import { describe, expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { packEntries, readTar, tarHeader, type TarEntry, type TarHeader } from "../../src/archive/index.ts";
import { collect, inChunks, rawEntry, rawTar, seal, shell } from "../support/raw-tar.ts";
import { newScratch } from "../support/scratch.ts";

async function read(bytes: Uint8Array, size?: number): Promise<{ header: TarHeader; body: Buffer }[]> {
  const found: { header: TarHeader; body: Buffer }[] = [];
  for await (const { header, body } of readTar(inChunks(bytes, size)))
    found.push({ header, body: await collect(body) });
  return found;
}

async function* entries(...headers: TarHeader[]): AsyncGenerator<TarEntry> {
  for (const header of headers) yield { header, body: inChunks(new Uint8Array(header.size).fill(0x61)) };
}

describe("reading what GNU tar writes", () => {
  for (const format of ["gnu", "pax", "ustar", "v7"] as const) {
    test(`${format}: names, types, modes, owners, times and bodies are those of the files`, async () => {
      await using scratch = newScratch();
      mkdirSync(join(scratch.path, "in/d"), { recursive: true });
      shell(
        join(scratch.path, "in"),
        "printf hello > a; chown 1000:2000 a; chmod 4751 a; ln a b; ln -s ../a d/s; touch -d @1234567890 a",
      );
      shell(scratch.path, `tar --format=${format} --sort=name -C in -cf t.tar a b d`);
      const found = await read(readFileSync(join(scratch.path, "t.tar")));
      expect(found.map(({ header }) => [header.name, header.type, header.linkName])).toEqual([
        ["a", "file", ""],
        ["b", "hardlink", "a"],
        ["d", "directory", ""],
        ["d/s", "symlink", "../a"],
      ]);
      expect(found[0]?.header).toMatchObject({
        mode: 0o4751,
        uid: 1000,
        gid: 2000,
        size: 5,
        mtimeNs: 1234567890000000000n,
      });
      expect(found[0]?.body.toString()).toBe("hello");
    });
  }

  for (const format of ["gnu", "pax"] as const) {
    test(`${format}: names of 300 bytes, ids above 2^21 and link texts of 300 bytes survive`, async () => {
      await using scratch = newScratch();
      const long = `${"x".repeat(150)}/${"y".repeat(149)}`;
      shell(scratch.path, `mkdir ${"x".repeat(150)}; printf 1 > ${long}; ln -s ${"z".repeat(300)} l`);
      shell(scratch.path, `chown 3000000:4000000 ${long}; tar --format=${format} -cf t.tar ${long} l`);
      const [file, link] = await read(readFileSync(join(scratch.path, "t.tar")));
      expect(file?.header).toMatchObject({ name: long, uid: 3_000_000, gid: 4_000_000 });
      expect(link?.header.linkName).toBe("z".repeat(300));
    });
  }

  for (const [name, options] of [
    ["old GNU", "--format=gnu"],
    ["pax 0.0", "--format=pax --sparse-version=0.0"],
    ["pax 0.1", "--format=pax --sparse-version=0.1"],
    ["pax 1.0", "--format=pax --sparse-version=1.0"],
  ] as const) {
    test(`${name}: a sparse file of 40 islands reads as the file does`, async () => {
      await using scratch = newScratch();
      const script =
        "truncate -s 9000001 s; for i in $(seq 40); do printf $i | dd of=s bs=1 seek=$((i*200000)) conv=notrunc status=none; done";
      shell(scratch.path, script);
      shell(scratch.path, `tar --sparse ${options} -cf t.tar s && test $(stat -c %s t.tar) -lt 1000000`);
      const [file] = await read(readFileSync(join(scratch.path, "t.tar")));
      expect(file?.header).toMatchObject({ name: "s", size: 9_000_001 });
      expect(file?.body.equals(readFileSync(join(scratch.path, "s")))).toBe(true);
    });
  }

  test("a name that is not UTF-8 keeps its bytes both ways", async () => {
    await using scratch = newScratch();
    shell(scratch.path, String.raw`mkdir in; touch in/$'\xff\xfe' in/$'\u00fc'; tar -C in --sort=name -cf t.tar .`);
    const found = await read(readFileSync(join(scratch.path, "t.tar")));
    writeFileSync(
      join(scratch.path, "back.tar"),
      await collect(packEntries(entries(...found.map((one) => one.header)))),
    );
    shell(scratch.path, "mkdir out; tar -C out -xf back.tar; diff <(cd in; find . | sort) <(cd out; find . | sort)");
  });
});

describe("writing what GNU tar reads", () => {
  test("every type, exact times, big ids, long names and binary attributes come back from tar(1)", async () => {
    await using scratch = newScratch();
    const capability = new Uint8Array([1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    const bytes = await collect(
      packEntries(
        entries(
          tarHeader({ name: "d", type: "directory", mode: 0o1777, mtimeNs: 1_600_000_000_000_000_001n }),
          tarHeader({ name: "d/f", type: "file", mode: 0o640, size: 5000, uid: 3_000_000, gid: 7, mtimeNs: 1n }),
          tarHeader({ name: `d/${"n".repeat(200)}`, type: "file" }),
          tarHeader({ name: "d/h", type: "hardlink", linkName: "d/f" }),
          tarHeader({ name: "d/s", type: "symlink", linkName: "t".repeat(180) }),
          tarHeader({ name: "d/null", type: "character", mode: 0o666, major: 1, minor: 3 }),
          tarHeader({ name: "d/loop", type: "block", major: 7, minor: 300 }),
          tarHeader({ name: "d/fifo", type: "fifo" }),
          tarHeader({ name: "d/c", type: "file", xattrs: new Map([["security.capability", capability]]) }),
          tarHeader({ name: `${"p/".repeat(60)}q`, type: "file", mtimeNs: -1_500_000_000n }),
        ),
      ),
    );
    writeFileSync(join(scratch.path, "t.tar"), bytes);
    shell(scratch.path, "mkdir out; tar --xattrs --xattrs-include='*' -C out -xpf t.tar");
    const out = join(scratch.path, "out");
    expect(shell(out, "stat -c '%a %u:%g %s %h' d/f; stat -c %.9Y d d/f $(find p -name q)")).toBe(
      "640 3000000:7 5000 2\n1600000000.000000001\n0.000000001\n-1.500000000\n",
    );
    expect(shell(out, `stat -c '%F %t:%T' d/null d/loop d/fifo; readlink d/s; ls d | grep -c nnn`)).toBe(
      `character special file 1:3\nblock special file 7:12c\nfifo 0:0\n${"t".repeat(180)}\n1\n`,
    );
    expect(shell(out, "getfattr -n security.capability -e hex --only-values d/c | od -An -tx1 | tr -d ' \\n'")).toBe(
      Buffer.from(capability).toString("hex"),
    );
    expect(shell(scratch.path, "tar -tf t.tar | tail -1")).toBe(`${"p/".repeat(60)}q\n`);
  });

  test("the same entries give the same bytes, and a body of another size is refused", async () => {
    const headers = [
      tarHeader({ name: "a", type: "file", size: 10, mtimeNs: 5n }),
      tarHeader({ name: "ü", type: "file" }),
    ];
    expect(
      (await collect(packEntries(entries(...headers)))).equals(await collect(packEntries(entries(...headers)))),
    ).toBe(true);
    const short = [{ header: tarHeader({ name: "a", type: "file", size: 10 }), body: inChunks(new Uint8Array(9)) }];
    await expect(collect(packEntries(short))).rejects.toThrow('Cannot pack "a": its body does not have 10 bytes');
  });
});

describe("refusing what is damaged", () => {
  const good = rawTar({ name: "a", body: "x".repeat(700), pax: { mtime: "1.5" } }, { name: "b", flag: "5" });

  test("a stream cut anywhere is refused", async () => {
    // The second zero block may be missing, as tar(1) has it too.
    for (let length = 0; length < good.length - 512; length += 128) {
      await expect(read(good.subarray(0, length))).rejects.toThrow("truncated");
    }
    expect(await read(good)).toHaveLength(2);
  });

  test("chunks of one byte read the same", async () => {
    expect((await read(good, 1)).map(({ header, body }) => [header.name, header.mtimeNs, body.length])).toEqual([
      ["a", 1_500_000_000n, 700],
      ["b", 1_000_000_000_000_000_000n, 0],
    ]);
  });

  test("any flipped bit in a header is refused", async () => {
    const one = rawTar({ name: "name", body: "x" });
    for (let bit = 0; bit < 512 * 8; bit += 7) {
      const damaged = Buffer.from(one);
      const at = bit >> 3;
      damaged[at] = (damaged[at] ?? 0) ^ (1 << (bit & 7));
      // Leading zeros and the spaces of the checksum's own field may read the same.
      const result = await read(damaged).then(
        (found) => JSON.stringify(found.map(({ header }) => [header.name, header.size, header.mode, header.uid])),
        (error: Error) => error.message,
      );
      expect(result.startsWith("Invalid archive: ") || result === '[["name",1,420,0]]').toBe(true);
    }
  });

  test("declared sizes, ids and devices are bounded", async () => {
    const cases: [Uint8Array, string][] = [
      [rawTar({ name: "f", pax: { size: "9007199254740993" } }), "not a number from 0 to 2^53"],
      [rawTar({ name: "f", pax: { size: "2000000000000" } }), "says it has 2000000000000 bytes"],
      [rawTar({ name: "f", pax: { uid: "4294967295" } }), "user id 4294967295"],
      [rawTar({ name: "f", pax: { path: "a\0b" } }), "holds a NUL byte"],
      [rawTar({ name: "x", flag: "x", size: 2_000_000 }), "passes the limit of 1048576"],
      [rawTar({ name: "f", pax: { path: "n".repeat(5000) } }), "is longer than 4095 bytes"],
      [rawTar({ name: "f", flag: "3", device: [0o10000, 0] }), "which Linux does not have"],
      [rawTar({ name: "f", flag: "M" }), 'of the type "M"'],
      [
        rawTar({
          name: "f",
          pax: { "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "99" },
          body: "9999999\n" + "0".repeat(1016),
        }),
        "more than 1000000 regions",
      ],
      [
        rawTar({ name: "f", pax: { "GNU.sparse.size": "10", "GNU.sparse.map": "5,2,3,1" }, body: "abc" }),
        "out of order",
      ],
      [rawTar({ name: "f", pax: { "GNU.sparse.size": "10", "GNU.sparse.map": "5,9" }, body: "abc" }), "out of order"],
      [rawTar({ name: "x", flag: "x", body: "99 path=a\n" }), "a pax record at byte 0 is malformed"],
    ];
    for (const [bytes, message] of cases) await expect(read(bytes)).rejects.toThrow(message);
  });

  test("base-256 numbers beyond 2^53 and negative sizes are refused", async () => {
    for (const first of [0x80, 0xff]) {
      const block = rawEntry({ name: "f" });
      block.fill(0xff, 124, 136);
      block[124] = first;
      seal(block);
      await expect(read(Buffer.concat([block, Buffer.alloc(1024)]))).rejects.toThrow("Invalid archive");
    }
  });

  test("what follows the end mark is read to the source's end and ignored", async () => {
    let chunks = 0;
    const source = (async function* () {
      for await (const chunk of inChunks(Buffer.concat([good, Buffer.alloc(50_000, 0x41)]))) {
        chunks++;
        yield chunk;
      }
    })();
    const names: string[] = [];
    for await (const { header } of readTar(source)) names.push(header.name);
    expect(names).toEqual(["a", "b"]);
    expect(chunks).toBe(Math.ceil((good.length + 50_000) / 777));
  });
});
