import { describe, expect, test } from "bun:test";
import { existsSync, lstatSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { applyLayer, hashingStream, packLayer } from "../../src/archive/index.ts";
import { collect, describeTree, inChunks, rawTar, shell, type RawEntry } from "../support/raw-tar.ts";
import { newScratch, type Scratch } from "../support/scratch.ts";

interface Place extends Scratch {
  readonly root: string;
}

/** `<scratch>/outside` must never change; the layer goes to `<scratch>/root`. */
function newPlace(): Place {
  const scratch = newScratch();
  const root = join(scratch.path, "root");
  mkdirSync(root);
  mkdirSync(join(scratch.path, "outside"));
  writeFileSync(join(scratch.path, "outside/secret"), "secret");
  return Object.assign(scratch, { root });
}

async function apply(root: string, ...entries: RawEntry[]): ReturnType<typeof applyLayer> {
  return applyLayer(inChunks(rawTar(...entries)), root);
}

function outside(place: Place): string {
  return shell(place.path, "ls outside; cat outside/secret; stat -c '%a %h' outside/secret");
}
const untouched = "secret\nsecret644 1\n";

describe("a layer made by tar(1)", () => {
  test("unpacks to what tar(1) unpacks, and packs to what tar(1) reads, with every kind of file", async () => {
    await using place = newPlace();
    shell(
      place.path,
      String.raw`mkdir -p in/d/e in/ro; cd in
        printf hello > a; chown 5:6 a; chmod 6755 a; ln a d/b; ln -s ../a d/s; mkfifo p; mknod n c 1 3; mknod l b 7 1
        printf x > d/cap; chown 3000000:4000000 d/cap
        if command -v setfattr; then
          setfattr -n security.capability -v 0x0100000200200000000000000000000000000000 d/cap
          setfattr -n user.bin -v 0x00ff0a3d d/e; setfattr -n trusted.t -v 0x01 a
        fi
        touch -d '2001-02-03 04:05:06.123456789' d/e a; chmod 555 ro; truncate -s 5M sparse; touch $'\xff' "$(printf 'n%.0s' {1..250})"`,
    );
    shell(place.path, "tar --format=pax --sparse --xattrs --xattrs-include='*' --sort=name -C in -cf in.tar .");
    const applied = await applyLayer(Bun.file(join(place.path, "in.tar")).stream(), place.root);
    expect(describeTree(place.root)).toBe(describeTree(join(place.path, "in")));
    expect(applied).toMatchObject({ sizeBytes: 5 + 4 + 1 + 5 * 1024 * 1024, impliedDirectories: [] });
    expect(shell(place.root, "stat -c %b sparse")).toBe("0\n");

    writeFileSync(join(place.path, "out.tar"), await collect(packLayer(place.root)));
    shell(place.path, "mkdir out; tar --xattrs --xattrs-include='*' -C out -xpf out.tar");
    expect(describeTree(join(place.path, "out")).replace(/^\.\|d.*$/gm, "")).toBe(
      describeTree(place.root).replace(/^\.\|d.*$/gm, ""),
    );
  });

  test("packs to the same digest after a round through applyLayer", async () => {
    await using place = newPlace();
    shell(place.root, "mkdir -p d/o; printf 1 > d/f; ln d/f z; mknod d/gone c 0 0; touch -d @1.5 d");
    shell(place.root, "setfattr -n trusted.overlay.opaque -v y d/o 2>/dev/null || rmdir d/o");
    const first = hashingStream(packLayer(place.root));
    const copy = join(place.path, "copy");
    mkdirSync(copy);
    await applyLayer(first.stream, copy);
    const second = hashingStream(packLayer(copy));
    await collect(second.stream);
    expect(second.digest()).toBe(first.digest());
    expect(
      describeTree(copy)
        .replace(/^\.\|d.*$/gm, "")
        .replaceAll(/gone\|.*/g, "gone"),
    ).toBe(
      describeTree(place.root)
        .replace(/^\.\|d.*$/gm, "")
        .replaceAll(/gone\|.*/g, "gone"),
    );
  });
});

describe("whiteouts", () => {
  test(".wh.x becomes a character device 0:0, and an opaque mark the kernel's attribute, and both come back", async () => {
    await using place = newPlace();
    await apply(
      place.root,
      { name: "d/.wh.x" },
      { name: "o/.wh..wh..opq" },
      { name: "o/new", body: "1" },
      { name: ".wh.y", flag: "1", link: ".wh..wh.aufs" },
    );
    expect(shell(place.root, "stat -c '%F %t:%T' d/x y; ls -A d o")).toBe(
      "character special file 0:0\ncharacter special file 0:0\nd:\nx\n\no:\nnew\n",
    );
    expect(shell(place.root, "getfattr --only-values -n trusted.overlay.opaque o")).toBe("y");
    writeFileSync(join(place.path, "t.tar"), await collect(packLayer(place.root)));
    expect(shell(place.path, "tar -tf t.tar")).toBe("d/\nd/.wh.x\no/\no/.wh..wh..opq\no/new\n.wh.y\n");
  });

  test("a file of the same layer stays, whichever comes first, and a directory over its whiteout is opaque", async () => {
    await using place = newPlace();
    await apply(
      place.root,
      { name: "a", body: "1" },
      { name: ".wh.a" },
      { name: ".wh.b" },
      { name: "b", body: "2" },
      { name: ".wh.c" },
      { name: "c/", flag: "5", mode: 0o755 },
      { name: "d/", flag: "5", mode: 0o755 },
      { name: ".wh.d" },
      { name: ".wh.e" },
      { name: "e/below", body: "3" },
    );
    expect(shell(place.root, "cat a b e/below; stat -c %F a b c d e")).toBe(
      "123regular file\nregular file\ndirectory\ndirectory\ndirectory\n",
    );
    const opaque = (await collect(packLayer(place.root))).toString("latin1").match(/\w\/\.wh\.\.wh\.\.opq/g);
    expect(opaque).toEqual(["c/.wh..wh..opq", "d/.wh..wh..opq", "e/.wh..wh..opq"]);
  });

  test("what an archive deletes is told, and links to files below it only where there is a below", async () => {
    await using place = newPlace();
    const tar = rawTar(
      { name: "d/.wh.one" },
      { name: "own", body: "1" },
      { name: "again", flag: "1", link: "own" },
      { name: "link", flag: "1", link: "./etc/passwd" },
    );
    const applied = await applyLayer(inChunks(tar), place.root, { stacked: true });
    expect(applied).toMatchObject({ whiteouts: ["d/one"], linksBelow: [{ path: "link", target: "etc/passwd" }] });
    expect(readdirSync(place.root).sort()).toEqual(["again", "d", "own"]);
    await using alone = newPlace();
    await expect(applyLayer(inChunks(tar), alone.root)).rejects.toThrow('Cannot unpack "link": ');
  });

  test("whiteouts that would delete a directory's own names are refused", async () => {
    for (const name of [".wh.", ".wh..", ".wh...", "d/.wh..", "d/.wh...", ".wh.x/y"]) {
      await using place = newPlace();
      await expect(apply(place.root, { name })).rejects.toThrow("Invalid archive: ");
      expect(outside(place)).toBe(untouched);
    }
  });

  test("what aufs kept for itself is dropped, and links into its link directory are made", async () => {
    await using place = newPlace();
    await apply(
      place.root,
      { name: ".wh..wh.aufs" },
      { name: ".wh..wh.orph/", flag: "5" },
      { name: ".wh..wh.plnk/", flag: "5" },
      { name: ".wh..wh.plnk/12.34", body: "shared", mode: 0o755 },
      { name: "bin/one", flag: "1", link: ".wh..wh.plnk/12.34" },
      { name: "bin/two", flag: "1", link: "./.wh..wh.plnk/12.34" },
    );
    expect(shell(place.root, "ls -A . bin; cat bin/one; stat -c '%a %h' bin/two")).toBe(
      ".:\nbin\n\nbin:\none\ntwo\nshared755 2\n",
    );
  });
});

describe("a hostile layer", () => {
  const refused: [string, RawEntry[], string][] = [
    ["a name with ../", [{ name: "../outside/new", body: "x" }], 'the name "../outside/new" leaves the directory'],
    ["a name with a/../../", [{ name: "a/../../outside/secret", body: "x" }], "leaves the directory"],
    ["a hard link to ../", [{ name: "l", flag: "1", link: "../outside/secret" }], "leaves the directory"],
    ["a hard link to nothing", [{ name: "l", flag: "1", link: "nothing" }], 'its other name "nothing" is not there'],
    [
      "a hard link to a directory",
      [
        { name: "d/", flag: "5" },
        { name: "l", flag: "1", link: "d" },
      ],
      "a directory cannot have two names",
    ],
    [
      "trusted.overlay",
      [{ name: "d/", flag: "5", pax: { "SCHILY.xattr.trusted.overlay.redirect": "/etc" } }],
      "trusted.overlay.redirect is the overlay",
    ],
    [
      "user.overlay",
      [{ name: "d/", flag: "5", pax: { "SCHILY.xattr.user.overlay.opaque": "y" } }],
      "user.overlay.opaque is the overlay",
    ],
    [
      "a file as parent",
      [
        { name: "f", body: "x" },
        { name: "f/g", body: "x" },
      ],
      "is needed as a directory and is none",
    ],
    [
      "a loop of symlinks",
      [
        { name: "a", flag: "2", link: "b" },
        { name: "b", flag: "2", link: "a" },
        { name: "a/x", body: "x" },
      ],
      "a loop of symlinks",
    ],
    [
      "a name too long for the kernel",
      [{ name: "x", pax: { path: "n".repeat(300) }, body: "x" }],
      "file name too long",
    ],
    [
      "a symlink to nowhere as parent",
      [
        { name: "a", flag: "2", link: "/nowhere" },
        { name: "a/x", body: "x" },
      ],
      "is needed as a directory",
    ],
    ["a file in place of the root", [{ name: ".", flag: "2", link: "/" }], "would replace the root"],
  ];
  for (const [what, entries, message] of refused) {
    test(`${what} is refused, and nothing outside changes`, async () => {
      await using place = newPlace();
      await expect(apply(place.root, ...entries)).rejects.toThrow(message);
      expect(outside(place)).toBe(untouched);
    });
  }

  test("symlinks as parents resolve inside: absolute, climbing and through the root's own files", async () => {
    await using place = newPlace();
    await apply(
      place.root,
      { name: "etc/", flag: "5", mode: 0o755 },
      { name: "abs", flag: "2", link: "/etc" },
      { name: "abs/one", body: "1" },
      { name: "up", flag: "2", link: "../../../../../etc" },
      { name: "up/two", body: "2" },
      { name: "out", flag: "2", link: join(place.path, "outside") },
      { name: "hard", flag: "1", link: "abs/one" },
    );
    await expect(apply(place.root, { name: "out/new", body: "x" })).rejects.toThrow('Cannot unpack "out/new"');
    await expect(apply(place.root, { name: "l", flag: "1", link: "out/secret" })).rejects.toThrow("no such file");
    expect(shell(place.root, "cat etc/one etc/two hard")).toBe("121");
    expect(outside(place)).toBe(untouched);
  });

  test("absolute names count from the layer's root", async () => {
    await using place = newPlace();
    await apply(
      place.root,
      { name: "/etc/passwd", body: "root" },
      { name: "//x//./y/", flag: "5" },
      { name: "a/b/../c", body: "1" },
    );
    expect(shell(place.root, "cat etc/passwd; find . | sort | tr '\\n' ' '")).toBe(
      "root. ./a ./a/c ./etc ./etc/passwd ./x ./x/y ",
    );
  });

  test("a file, then a symlink, then a directory of one name: the last stays, and no time is set through the link", async () => {
    await using place = newPlace();
    const target = join(place.path, "outside/secret");
    const before = lstatSync(target).mtimeMs;
    await apply(
      place.root,
      { name: "x", body: "1" },
      { name: "x", flag: "2", link: target },
      { name: "x", body: "second" },
      { name: "y/", flag: "5", mode: 0o700 },
      { name: "y/deep/f", body: "1" },
      { name: "y", flag: "2", link: target },
      { name: "z", body: "1" },
      { name: "z/", flag: "5", mode: 0o711 },
    );
    expect(shell(place.root, "cat x; readlink y; stat -c '%F %a' z")).toBe(`second${target}\ndirectory 711\n`);
    expect(lstatSync(target).mtimeMs).toBe(before);
    expect(outside(place)).toBe(untouched);
  });

  test("device nodes are made as nodes and never opened", async () => {
    await using place = newPlace();
    const { sizeBytes } = await apply(
      place.root,
      { name: "mem", flag: "3", mode: 0o600, device: [1, 1] },
      { name: "disk", flag: "4", device: [8, 0] },
      { name: "p", flag: "6" },
    );
    expect(shell(place.root, "stat -c '%n %F %t:%T %a' *")).toBe(
      "disk block special file 8:0 644\nmem character special file 1:1 600\np fifo 0:0 644\n",
    );
    expect(sizeBytes).toBe(0);
    expect((await collect(packLayer(place.root))).length).toBe(2560);
  });

  test("a truncated stream and a damaged header are refused, wherever they are", async () => {
    const bytes = rawTar({ name: "a", body: "x".repeat(1000) }, { name: "b/", flag: "5" }, { name: "c", body: "y" });
    for (const length of [0, 100, 512, 900, 1536, 2048, 2600, 3072]) {
      await using place = newPlace();
      await expect(applyLayer(inChunks(bytes.subarray(0, length)), place.root)).rejects.toThrow("truncated");
    }
    await using place = newPlace();
    const damaged = Buffer.from(bytes);
    damaged[1600] = 0x55;
    await expect(applyLayer(inChunks(damaged), place.root)).rejects.toThrow("checksum");
    expect(existsSync(join(place.root, "c"))).toBe(false);
  });

  test("no descriptor is left open, whether it was taken or refused", async () => {
    await using place = newPlace();
    const open = (): number => readdirSync("/proc/self/fd").length;
    const before = open();
    await apply(place.root, ...Array.from({ length: 200 }, (_, index) => ({ name: `d${index}/e/f`, body: "x" })));
    await expect(apply(place.root, { name: "q/r", body: "x" }, { name: "../x" })).rejects.toThrow();
    await expect(
      applyLayer(inChunks(rawTar({ name: "big", body: "x".repeat(2000) }).subarray(0, 1000)), place.root),
    ).rejects.toThrow();
    await collect(packLayer(place.root));
    expect(open()).toBe(before);
  });
});

test("directories that the archive does not list are told, and are 0755 whatever the umask", async () => {
  await using place = newPlace();
  const umask = process.umask(0o077);
  try {
    const applied = await apply(
      place.root,
      { name: "a/b/c", body: "x" },
      { name: "a/", flag: "5", mode: 0o750 },
      { name: "s", flag: "2", link: "a" },
    );
    expect(applied).toMatchObject({ sizeBytes: 2, impliedDirectories: ["", "a/b"] });
  } finally {
    process.umask(umask);
  }
  expect(shell(place.root, "stat -c %a a a/b a/b/c")).toBe("750\n755\n644\n");
});

test("a file that only looks like a whiteout is refused by packLayer, and sockets are left out", async () => {
  await using place = newPlace();
  const listener = Bun.listen({ unix: join(place.root, "socket"), socket: { data() {} } });
  expect((await collect(packLayer(place.root))).length).toBe(1024);
  listener.stop();
  writeFileSync(join(place.root, ".wh.fake"), "");
  await expect(collect(packLayer(place.root))).rejects.toThrow('Cannot pack ".wh.fake"');
  expect(readFileSync(join(place.root, ".wh.fake"), "utf8")).toBe("");
});

test("a tree of three hundred levels packs and unpacks", async () => {
  await using place = newPlace();
  const deep = join(place.root, ..."d".repeat(300));
  mkdirSync(deep, { recursive: true });
  writeFileSync(join(deep, "f"), "");
  const copy = join(place.path, "copy");
  mkdirSync(copy);
  await applyLayer(packLayer(place.root), copy);
  expect(shell(copy, "find . | wc -l")).toBe("302\n");
});
