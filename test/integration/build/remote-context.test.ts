import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync, symlinkSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { TestBuilder } from "../../support/build-fixture.ts";
import { commit, git, serveGit } from "../../support/git-server.ts";
import { tarOf } from "../../support/image-fixture.ts";
import { newScratch, type Scratch } from "../../support/scratch.ts";

let scratch: Scratch;
let builder: TestBuilder;
const files = new Map<string, Uint8Array>();
const server = createServer((request, response) => {
  const body = files.get(request.url ?? "");
  if (!body) response.writeHead(404).end();
  else response.end(request.method === "HEAD" ? undefined : body);
});
let url = "";

beforeAll(async () => {
  scratch = newScratch();
  builder = new TestBuilder(scratch.path);
  await builder.importBase();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}, 30_000);

afterAll(async () => {
  server.closeAllConnections();
  server.close();
  builder[Symbol.dispose]();
  await scratch[Symbol.asyncDispose]();
});

test("a context is a git repository: its branch, its folder, its .dockerignore", async () => {
  const folder = join(scratch.path, "srv/app");
  commit(folder, {
    "docker/Dockerfile": "FROM test/base\nCOPY . /app\n",
    "docker/kept": "from git",
    "docker/left-out": "x",
    "docker/.dockerignore": "left-out\n",
  });
  await using repositories = await serveGit(join(scratch.path, "srv"));
  const { image } = await builder.run([], { context: `${repositories.url}/app.git#main:docker` });
  expect(await builder.look(image, "ls", "-A", "{}/app")).toBe(".dockerignore\nDockerfile\nkept\n");
  expect(await builder.look(image, "cat", "{}/app/kept")).toBe("from git");
  expect(builder.leftovers()).toEqual([]);
});

test("a context is a tar, plain or compressed, or a Dockerfile alone, by http", async () => {
  const tar = await tarOf([
    { name: "Dockerfile", text: "FROM test/base\nCOPY file /file\n" },
    { name: "file", text: "from tar" },
  ]);
  files
    .set("/context.tar", tar)
    .set("/context", gzipSync(tar))
    .set("/My.Dockerfile", Buffer.from("FROM test/base\nRUN echo alone > /file\n"));
  for (const [path, text] of [
    ["/context.tar", "from tar"],
    ["/context", "from tar"],
    ["/My.Dockerfile", "alone\n"],
  ] as const) {
    const { image } = await builder.run([], { context: url + path });
    expect(await builder.look(image, "cat", "{}/file")).toBe(text);
  }
  expect(builder.leftovers()).toEqual([]);
});

test("what is no context is refused and leaves nothing", async () => {
  files.set("/large", Buffer.alloc(32 * 1024 * 1024, "x"));
  const words = async (context: string): Promise<string> => (await builder.fail([], { context })).error.message;
  expect(await words("ftp://host/x")).toBe(
    'unable to prepare context: "ftp://host/x" is no git repository and no http URL',
  );
  expect(await words(`${url}/none`)).toBe(`Cannot download "${url}/none": the server answered 404 Not Found`);
  expect(await words(`${url}/large`)).toContain("it is no tar archive, and larger than the ");
  expect(builder.leftovers()).toEqual([]);
});

test("ADD takes files of the web and commits of repositories, and the second build asks and finds them cached", async () => {
  files.set("/dir/data.bin", Buffer.from("of the web"));
  const folder = join(scratch.path, "srv2/library");
  const id = commit(folder, { code: "of git", "sub/inner": "x" });
  await using repositories = await serveGit(join(scratch.path, "srv2"));
  const text = `FROM test/base\nADD ${url}/dir/data.bin /web/\nADD ${repositories.url}/library.git#${id} /git\n`;
  const { image } = await builder.run([{ name: "Dockerfile", text }]);
  expect(await builder.look(image, "cat", "{}/web/data.bin")).toBe("of the web");
  expect(await builder.look(image, "stat", "-c", "%a %u %g", "{}/web/data.bin")).toBe("600 0 0\n");
  expect(await builder.look(image, "cat", "{}/git/code")).toBe("of git");
  expect(await builder.look(image, "ls", "-A", "{}/git")).toBe("code\nsub\n");
  const again = await builder.run([{ name: "Dockerfile", text }]);
  expect(again.text.match(/Using cache/g)).toHaveLength(2);
  expect(again.image.id).toBe(image.id);
  files.set("/dir/data.bin", Buffer.from("another"));
  const other = await builder.run([{ name: "Dockerfile", text }]);
  expect(other.text).not.toContain("Using cache");
  expect(await builder.look(other.image, "cat", "{}/web/data.bin")).toBe("another");
  expect(builder.leftovers()).toEqual([]);
});

test("links of a repository lead nowhere out of it", async () => {
  const folder = join(scratch.path, "srv3/evil");
  commit(folder, { Dockerfile: "FROM test/base\nCOPY passwd /stolen\n" });
  symlinkSync("/etc/passwd", join(folder, "passwd"));
  git(folder, "add", "--all");
  git(folder, "commit", "--quiet", "-m", "link");
  await using repositories = await serveGit(join(scratch.path, "srv3"));
  const { error } = await builder.fail([], { context: `${repositories.url}/evil.git` });
  expect(error.message).toContain("passwd");
  expect(error.message).not.toContain(readFileSync("/etc/passwd", "utf8").slice(0, 20));
  expect(builder.leftovers()).toEqual([]);
});
