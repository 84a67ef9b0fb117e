import { expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseGitReference, type GitReference } from "../../../src/build/git-reference.ts";
import { gitAuthorization, GitSource, type GitRequest } from "../../../src/build/git-source.ts";
import { EngineError, Paths } from "../../../src/common/index.ts";
import { commit, git, serveGit, serveGitDaemon } from "../../support/git-server.ts";
import { newScratch, type Scratch } from "../../support/scratch.ts";

interface Fixture {
  readonly source: GitSource;
  readonly repositories: string;
  readonly temporary: string;
}

function fixture({ path }: Scratch, limits: { timeoutMs?: number } = {}): Fixture {
  const paths = new Paths(join(path, "root"), join(path, "run"));
  mkdirSync(paths.temporary, { recursive: true });
  const repositories = join(path, "srv");
  mkdirSync(repositories);
  return { source: new GitSource({ paths, limits }), repositories, temporary: paths.temporary };
}

function reference(text: string): GitReference {
  const parsed = parseGitReference(text);
  if (!parsed) throw new Error(`"${text}" is no repository`);
  return parsed;
}

/** Names below a folder of a checkout. */
function filesIn(root: string): string[] {
  return readdirSync(root, { recursive: true, encoding: "utf8" }).sort();
}

async function brought(
  source: GitSource,
  request: GitRequest,
): Promise<{ files: string[]; commit: string; text: string }> {
  await using checkout = await source.checkout(request, await source.find(request));
  const path = join(checkout.root, "file");
  return {
    files: filesIn(checkout.root),
    commit: checkout.commit,
    text: existsSync(path) ? readFileSync(path, "utf8") : "",
  };
}

async function failure(work: Promise<unknown>): Promise<EngineError> {
  const error: unknown = await work.then(
    () => new Error("It was to fail and did not"),
    (thrown: unknown) => thrown,
  );
  if (error instanceof EngineError) return error;
  throw error;
}

test("branches, tags, commits and the default branch lead to their files, by http and by git's own protocol", async () => {
  await using scratch = newScratch();
  const { source, repositories, temporary } = fixture(scratch);
  const folder = join(repositories, "app");
  const first = commit(folder, { file: "one", "sub/inner": "x" });
  git(folder, "tag", "light");
  git(folder, "tag", "-a", "heavy", "-m", "tag");
  const second = commit(folder, { file: "two" });
  git(folder, "branch", "side", first);
  await using http = await serveGit(repositories);
  await using daemon = await serveGitDaemon(repositories);
  for (const remote of [`${http.url}/app.git`, `${daemon.url}/app/.git`]) {
    const meanings: [suffix: string, commit: string][] = [
      ["", second],
      ["#main", second],
      ["#refs/heads/side", first],
      ["#light", first],
      ["#heavy", first],
      ["?tag=heavy", first],
      [`#${first}`, first],
    ];
    for (const [suffix, expected] of meanings) {
      const request = { reference: reference(remote + suffix) };
      const { commit: got, files, text } = await brought(source, request);
      expect([suffix, got, text]).toEqual([suffix, expected, expected === first ? "one" : "two"]);
      expect(files).toEqual(["file", "sub", "sub/inner"]);
    }
  }
  expect(readdirSync(temporary)).toEqual([]);
}, 30_000);

test("a key is the commit's, and another where the files are others", async () => {
  await using scratch = newScratch();
  const { source, repositories } = fixture(scratch);
  const first = commit(join(repositories, "app"), { file: "one", "sub/inner": "x" });
  await using server = await serveGit(repositories);
  const key = async (suffix: string, keepGitDirectory = false): Promise<string> =>
    (await source.find({ reference: reference(`${server.url}/app.git${suffix}`), keepGitDirectory })).key;
  expect(await key("")).toBe(first);
  expect(await key(`#${first}`)).toBe(first);
  const others = [await key("#main:sub"), await key("", true), await key("?submodules=0"), await key("?mtime=commit")];
  expect(new Set([first, ...others]).size).toBe(5);
});

test("a folder of the repository is the root, and one that a symlink stands for is refused", async () => {
  await using scratch = newScratch();
  const { source, repositories, temporary } = fixture(scratch);
  const folder = join(repositories, "app");
  commit(folder, { "sub/deep/file": "inside" });
  symlinkSync("/etc", join(folder, "out"));
  symlinkSync("sub", join(folder, "in"));
  commit(folder, { plain: "x" });
  await using server = await serveGit(repositories);
  const url = `${server.url}/app.git`;
  expect(await brought(source, { reference: reference(`${url}#main:sub/deep`) })).toMatchObject({
    files: ["file"],
    text: "inside",
  });
  for (const bad of ["out", "in/deep", "missing", "plain"]) {
    const error = await failure(brought(source, { reference: reference(`${url}#:${bad}`) }));
    expect([error.code, error.message.split(":")[0]]).toEqual(["notFound", `invalid subdir ${bad}`]);
  }
  expect(readdirSync(temporary)).toEqual([]);
});

test("the .git folder is kept on request, with neither credentials nor hooks in it", async () => {
  await using scratch = newScratch();
  const { source, repositories } = fixture(scratch);
  const first = commit(join(repositories, "app"), { file: "one" });
  await using server = await serveGit(repositories);
  server.password = `Basic ${Buffer.from("me:topsecret").toString("base64")}`;
  const remote = `${server.url}/app.git`.replace("//", "//me:topsecret@");
  const request = { reference: reference(remote), keepGitDirectory: true };
  await using checkout = await source.checkout(request, await source.find(request));
  expect(git(checkout.root, "rev-parse", "HEAD")).toBe(first);
  expect(git(checkout.root, "status", "--porcelain")).toBe("");
  expect(git(checkout.root, "remote", "get-url", "origin")).toBe(`${server.url}/app.git`);
  expect(Bun.spawnSync(["grep", "-r", "topsecret", checkout.root]).stdout.toString()).toBe("");
  expect(existsSync(join(checkout.root, ".git/hooks"))).toBe(false);
});

test("submodules come along unless they are left out, and none may be a folder of this machine", async () => {
  await using scratch = newScratch();
  const { source, repositories } = fixture(scratch);
  commit(join(repositories, "library"), { code: "lib" });
  await using server = await serveGit(repositories);
  const folder = join(repositories, "app");
  commit(folder, { file: "one" });
  git(folder, "submodule", "--quiet", "add", join(repositories, "library"), "lib");
  git(folder, "config", "-f", ".gitmodules", "submodule.lib.url", `${server.url}/library.git`);
  commit(folder, {});
  const url = `${server.url}/app.git`;
  expect((await brought(source, { reference: reference(url) })).files).toEqual([
    ".gitmodules",
    "file",
    "lib",
    "lib/code",
  ]);
  expect((await brought(source, { reference: reference(`${url}?submodules=false`) })).files).toEqual([
    ".gitmodules",
    "file",
    "lib",
  ]);

  const evil = join(repositories, "evil");
  commit(evil, { file: "one" });
  git(evil, "submodule", "--quiet", "add", join(repositories, "library"), "lib");
  commit(evil, {});
  const error = await failure(brought(source, { reference: reference(`${server.url}/evil.git`) }));
  expect(error.message).toContain("transport 'file' not allowed");
});

test("nothing of the user's settings and no hook of the machine runs, and modes are git's own", async () => {
  await using scratch = newScratch();
  const { source, repositories } = fixture(scratch);
  const folder = join(repositories, "app");
  commit(folder, { file: "one", ".gitattributes": "* filter=evil\n", "run.sh": "#!/bin/sh\n" });
  git(folder, "update-index", "--chmod=+x", "run.sh");
  git(folder, "commit", "--quiet", "-m", "mode");
  await using server = await serveGit(repositories);
  const ran = join(scratch.path, "ran");
  const settings = join(scratch.path, "gitconfig");
  mkdirSync(join(scratch.path, "hooks"));
  writeFileSync(join(scratch.path, "hooks/post-checkout"), `#!/bin/sh\ntouch ${ran}\n`, { mode: 0o755 });
  writeFileSync(
    settings,
    `[core]\n\thooksPath = ${scratch.path}/hooks\n[filter "evil"]\n\tsmudge = touch ${ran}\n[url "http://127.0.0.1:1/"]\n\tinsteadOf = ${server.url}/\n`,
  );
  const before = process.env.GIT_CONFIG_GLOBAL;
  const mask = process.umask(0o077);
  process.env.GIT_CONFIG_GLOBAL = settings;
  try {
    const request = { reference: reference(`${server.url}/app.git?mtime=commit`) };
    await using checkout = await source.checkout(request, await source.find(request));
    expect(existsSync(ran)).toBe(false);
    const modes = ["file", "run.sh"].map((name) => statSync(join(checkout.root, name)).mode & 0o777);
    expect(modes).toEqual([0o644, 0o755]);
    expect(statSync(join(checkout.root, "file")).mtime.toISOString()).toBe("2020-01-01T10:00:00.000Z");
    expect(statSync(checkout.root).mtime.toISOString()).toBe("2020-01-01T10:00:00.000Z");
    expect(checkout.commitTimeMs).toBe(Date.parse("2020-01-01T10:00:00Z"));
  } finally {
    process.umask(mask);
    if (before === undefined) delete process.env.GIT_CONFIG_GLOBAL;
    else process.env.GIT_CONFIG_GLOBAL = before;
  }
});

test("a checksum must begin the commit's id", async () => {
  await using scratch = newScratch();
  const { source, repositories } = fixture(scratch);
  const first = commit(join(repositories, "app"), { file: "one" });
  await using server = await serveGit(repositories);
  const url = `${server.url}/app.git`;
  expect((await source.find({ reference: reference(`${url}?checksum=${first.slice(0, 12)}`) })).commit).toBe(first);
  for (const name of ["main", first]) {
    const error = await failure(source.find({ reference: reference(`${url}#${name}`), checksum: "0000000" }));
    expect(error.message).toBe(`expected checksum to match 0000000, got ${first}`);
  }
});

test("what is not there is named: reference, commit, repository, server", async () => {
  await using scratch = newScratch();
  const { source, repositories, temporary } = fixture(scratch);
  commit(join(repositories, "app"), { file: "one" });
  await using server = await serveGit(repositories);
  const url = `${server.url}/app.git`;
  const words = async (text: string): Promise<string> =>
    (await failure(brought(source, { reference: reference(text) }))).message;
  expect(await words(`${url}#nowhere`)).toBe(`repository "${url}" does not contain ref nowhere`);
  const id = "1".repeat(40);
  expect(await words(`${url}#${id}`)).toBe(`The repository "${url}" does not contain the commit ${id}`);
  expect(await words(`${server.url}/none.git`)).toContain(`Cannot ask "${server.url}/none.git" for its references: `);
  expect(await words("http://127.0.0.1:1/app.git")).toContain("127.0.0.1");
  const ssh = await failure(source.find({ reference: reference("git@example.com:app.git") }));
  expect(ssh.message).toContain("the client forwards no agent: build with --ssh default");
  expect(readdirSync(temporary)).toEqual([]);
});

test("secrets of the client authorise, the host's own first, and are in no argument and no message", async () => {
  await using scratch = newScratch();
  const { source, repositories } = fixture(scratch);
  commit(join(repositories, "app"), { file: "one" });
  await using server = await serveGit(repositories);
  const secrets = new Map([["GIT_AUTH_TOKEN", "general"]]);
  const secret = async (id: string): Promise<Uint8Array | undefined> => {
    const text = secrets.get(id);
    return text === undefined ? undefined : Buffer.from(`${text}\n`);
  };
  const asked = reference(`${server.url}/app.git`);
  const token = `basic ${Buffer.from("x-access-token:general").toString("base64")}`;
  expect(await gitAuthorization(asked, secret)).toBe(token);
  server.password = token;
  expect((await brought(source, { reference: asked, authorization: token })).text).toBe("one");
  secrets.set(`GIT_AUTH_HEADER.${asked.host}`, "Bearer own");
  expect(await gitAuthorization(asked, secret)).toBe("Bearer own");
  expect(await gitAuthorization(reference("git@example.com:x"), secret)).toBeUndefined();
  const error = await failure(source.find({ reference: asked, authorization: "Bearer wrong-secret" }));
  expect(error.message).not.toContain("wrong-secret");
  expect(error.message).toContain("Cannot ask");
});

test("a server that says nothing ends at the time limit, a cancelled one at once, and no process stays", async () => {
  await using scratch = newScratch();
  const { source, temporary } = fixture(scratch, { timeoutMs: 500 });
  using silent = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  const url = `http://127.0.0.1:${silent.port}/app.git`;
  expect((await failure(source.find({ reference: reference(url) }))).message).toContain("not done within 0.5 s");
  const abort = new AbortController();
  const work = failure(source.find({ reference: reference(url), signal: abort.signal }));
  setTimeout(() => abort.abort(new EngineError("cancelled", "The client has left")), 50);
  expect((await work).code).toBe("cancelled");
  const processes = Bun.spawnSync(["ps", "-eo", "args"]).stdout.toString();
  expect(processes).not.toContain(`${silent.port}/app.git`);
  expect(readdirSync(temporary)).toEqual([]);
  silent.stop(true);
});

test("a machine without git is told the package that has it", async () => {
  await using scratch = newScratch();
  const { source } = fixture(scratch);
  const path = process.env.PATH;
  process.env.PATH = scratch.path;
  try {
    const error = await failure(source.find({ reference: reference("https://example.com/app.git") }));
    expect([error.code, error.message]).toEqual([
      "unavailable",
      "A repository as a source needs the program git, which is not installed here: on Debian it is in the package git",
    ]);
  } finally {
    process.env.PATH = path;
  }
});
