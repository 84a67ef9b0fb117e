import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { TestBuilder } from "../../support/build-fixture.ts";
import { tarOf, type TestFile } from "../../support/image-fixture.ts";
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

const files: TestFile[] = [
  { name: "a.txt", text: "a" },
  { name: "b.txt", text: "b", mode: 0o600 },
  { name: "sub/" },
  { name: "sub/c.txt", text: "c" },
  { name: "sub/deep/", mode: 0o700 },
  { name: "sub/deep/run", text: "#!", mode: 0o4755 },
  { name: "link", linkTo: "a.txt" },
  { name: "sub/up", linkTo: "../a.txt" },
  { name: "host", linkTo: "/etc/passwd" },
  { name: "[x].txt", text: "brackets" },
];

/** Builds `FROM test/base` and these lines, and lists what find(1) sees below a path of the image. */
async function listed(lines: string, path: string, more: readonly TestFile[] = []): Promise<string[]> {
  const { image } = await builder.run([...files, ...more, { name: "Dockerfile", text: `FROM test/base\n${lines}\n` }]);
  const format = "%P %y %m %U:%G %s %l\\n";
  const text = await builder.look(image, "find", `{}${path}`, "-mindepth", "0", "-printf", format);
  return text
    .split("\n")
    .map((line) => line.trimEnd())
    .filter((line) => line !== "")
    .toSorted();
}

async function refusal(lines: string, more: readonly TestFile[] = []): Promise<string> {
  const all = [...files, ...more, { name: "Dockerfile", text: `FROM test/base\n${lines}\n` }];
  return (await builder.fail(all)).error.message;
}

describe("COPY", () => {
  test("gives a file to root and keeps its mode; a new folder is 0755", async () => {
    expect(await listed("COPY b.txt /new/dir/x", "/new")).toEqual([
      " d 755 0:0 4096",
      "dir d 755 0:0 4096",
      "dir/x f 600 0:0 1",
    ]);
  });

  test("puts files into a destination that ends with a slash or is a directory", async () => {
    expect(await listed("COPY a.txt /into/\nCOPY b.txt /into", "/into")).toEqual([
      " d 755 0:0 4096",
      "a.txt f 644 0:0 1",
      "b.txt f 600 0:0 1",
    ]);
  });

  test("takes a directory's contents, modes and symlinks, and not the directory itself", async () => {
    expect(await listed("COPY sub /s", "/s")).toEqual([
      " d 755 0:0 4096",
      "c.txt f 644 0:0 1",
      "deep d 700 0:0 4096",
      "deep/run f 4755 0:0 2",
      "up l 777 0:0 8 ../a.txt",
    ]);
  });

  test("finds several names by wildcards, and a bracket between brackets", async () => {
    expect(await listed("COPY ?.txt s*/*.txt [[]x].txt /w/", "/w")).toEqual([
      " d 755 0:0 4096",
      "[x].txt f 644 0:0 8",
      "a.txt f 644 0:0 1",
      "b.txt f 600 0:0 1",
      "c.txt f 644 0:0 1",
    ]);
  });

  test("follows a symlink that it names, and never out of the context", async () => {
    expect(await listed("COPY link /l", "/l")).toEqual([" f 644 0:0 1"]);
    expect(await refusal("COPY host /h")).toBe(
      "COPY failed: file not found in build context or excluded by .dockerignore: stat host: file does not exist (it is a symlink to what is not there)",
    );
  });

  test("gives files to a user by number or by name of the image, and sets modes", async () => {
    const lines =
      "COPY --chown=app:apps --chmod=640 a.txt /o/\nCOPY --chown=5:6 a.txt /o/b\nCOPY --chown=app a.txt /o/c";
    expect(await refusal(lines)).toContain("can't find gid for group app: no such group: app");
    expect(await listed(lines.replace(/\n[^\n]*$/, ""), "/o")).toEqual([
      " d 755 1000:2000 4096",
      "a.txt f 640 1000:2000 1",
      "b f 644 5:6 1",
    ]);
  });

  test("counts a relative destination from the working directory, with variables replaced", async () => {
    const lines = 'ENV D=data N="a b"\nWORKDIR /srv\nCOPY a.txt ${D}/\nCOPY ["b.txt", "$N"]';
    expect(await listed(lines, "/srv")).toEqual([
      " d 755 0:0 4096",
      "a b f 600 0:0 1",
      "data d 755 0:0 4096",
      "data/a.txt f 644 0:0 1",
    ]);
  });

  test("follows a symlink of the destination inside the image only", async () => {
    const lines = `RUN ln -s ${scratch.path} /escape && ln -s ../../../../../../etc /up\nCOPY a.txt /escape/x\nCOPY a.txt /up/y\nCOPY a.txt /lib/z\nRUN ln -s /var/made /file\nCOPY b.txt /file`;
    expect(await listed(lines, "/etc/y")).toEqual([" f 644 0:0 1"]);
    expect(await listed(lines, "/usr/lib")).toEqual([" d 755 0:0 4096", "z f 644 0:0 1"]);
    expect(await listed(lines, "/var")).toEqual([" d 755 0:0 4096", "made f 600 0:0 1"]);
    expect(await listed(lines, `${scratch.path}`)).toEqual([" d 755 0:0 4096", "x f 644 0:0 1"]);
    expect(await Bun.file(`${scratch.path}/x`).exists()).toBe(false);
  });

  test("replaces a file by a directory and merges directories", async () => {
    const lines =
      "RUN mkdir -p /m/deep && echo old > /m/deep/keep && echo f > /m/c.txt\nCOPY sub /m\nCOPY a.txt /m/deep/run";
    expect(await listed(lines, "/m")).toEqual([
      " d 755 0:0 4096",
      "c.txt f 644 0:0 1",
      "deep d 700 0:0 4096",
      "deep/keep f 644 0:0 4",
      "deep/run f 644 0:0 1",
      "up l 777 0:0 8 ../a.txt",
    ]);
  });

  test("writes heredocs, with variables unless the word is quoted", async () => {
    const text = `FROM test/base
ARG NAME=World
COPY --chmod=755 <<hello <<'raw' /doc/
say "hello $NAME"
hello
raw $NAME
raw
COPY <<-x /doc/x
\ttabs go
\tx
`;
    const { image } = await builder.run([{ name: "Dockerfile", text }]);
    expect(await builder.look(image, "tail", "-n", "+1", "{}/doc/hello", "{}/doc/raw", "{}/doc/x")).toMatch(
      /say "hello World"\n\n==> .*raw <==\nraw \$NAME\n\n==> .*x <==\ntabs go\n$/,
    );
  });
});

function packedBy(program: "xz" | "bzip2", bytes: Uint8Array): Buffer {
  return Bun.spawnSync([program, "-c"], { stdin: bytes }).stdout;
}

describe("ADD", () => {
  const inside: TestFile[] = [{ name: "inner/" }, { name: "inner/file", text: "packed" }];

  test("unpacks a local archive, plain or in any compression, and copies any other file", async () => {
    const tar = await tarOf(inside);
    const more = [
      { name: "plain", text: tar },
      { name: "x.tar.gz", text: gzipSync(tar) },
      { name: "x.tar.zst", text: zstdCompressSync(tar) },
      { name: "x.tar.xz", text: packedBy("xz", tar) },
      { name: "x.tar.bz2", text: packedBy("bzip2", tar) },
      { name: "note.xz", text: packedBy("xz", Buffer.from("no archive")) },
      { name: "note.gz", text: gzipSync("no archive") },
    ];
    const lines =
      "ADD plain /p\nADD x.tar.gz /g/\nADD x.tar.zst /z\nADD x.tar.xz /x\nADD x.tar.bz2 /b\nADD note.xz /m/\nADD note.gz /n/\nADD --unpack=false plain /kept\nCOPY plain /copied";
    expect(await listed(lines, "/p", more)).toEqual([
      " d 755 0:0 4096",
      "inner d 755 0:0 4096",
      "inner/file f 644 0:0 6",
    ]);
    expect(await listed(lines, "/g", more)).toHaveLength(3);
    for (const place of ["/z", "/x", "/b"]) expect(await listed(lines, place, more)).toHaveLength(3);
    expect(await listed(lines, "/m", more)).toEqual([" d 755 0:0 4096", expect.stringMatching(/^note.xz f /)]);
    expect(await listed(lines, "/n", more)).toEqual([" d 755 0:0 4096", expect.stringMatching(/^note.gz f /)]);
    expect(await listed(lines, "/kept", more)).toEqual([` f 644 0:0 ${tar.length}`]);
    expect(await listed(lines, "/copied", more)).toEqual([` f 644 0:0 ${tar.length}`]);
  });
});

describe("what cannot be copied is refused with Docker's words", () => {
  const table: [line: string, message: string][] = [
    [
      "COPY nope /",
      "COPY failed: file not found in build context or excluded by .dockerignore: stat nope: file does not exist",
    ],
    ["COPY ../x /", "COPY failed: forbidden path outside the build context: ../x ()"],
    ["COPY *.zip /", 'COPY failed: no source files were specified: nothing matches "*.zip"'],
    [
      "COPY a.txt b.txt /x",
      "When using COPY with more than one source file, the destination must be a directory and end with a /\nDockerfile:2:1\n   2 | COPY a.txt b.txt /x\n     | ^",
    ],
    [
      "COPY --chown=nobody a.txt /x",
      "unable to convert uid/gid chown string to host mapping: can't find uid for user nobody: no such user: nobody",
    ],
    ["COPY --chown=a:b:c a.txt /x", "invalid chown string format: a:b:c"],
    [
      "COPY https://example.org/x /",
      "COPY failed: source can't be a URL for COPY\nDockerfile:2:1\n   2 | COPY https://example.org/x /\n     | ^",
    ],
    ["COPY a.txt /etc/passwd/x", 'Cannot use "/etc/passwd" of the image as a directory: not a directory'],
  ];
  for (const [line, message] of table) {
    test(line, async () => {
      expect(await refusal(line)).toBe(message);
      expect(builder.leftovers()).toEqual([]);
    });
  }
});

test(".dockerignore keeps files out, and exceptions take them back in", async () => {
  const ignore = {
    name: ".dockerignore",
    text: "sub\n!sub/deep\n*.txt\n!a.txt\nDockerfile\n.dockerignore\n/host\n./link/\n",
  };
  expect(await listed("COPY . /all", "/all", [ignore])).toEqual([
    " d 755 0:0 4096",
    "a.txt f 644 0:0 1",
    "sub d 755 0:0 4096",
    "sub/deep d 700 0:0 4096",
    "sub/deep/run f 4755 0:0 2",
  ]);
});
