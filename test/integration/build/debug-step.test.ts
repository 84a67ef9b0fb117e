import { afterAll, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { busyboxEngine } from "../../support/busybox-engine.ts";
import { newScratch } from "../../support/scratch.ts";
import { projectRoot, vitrineCommand, waitFor } from "../../support/test-engine.ts";

const engine = busyboxEngine();
const scratch = newScratch();
const context = join(scratch.path, "context");
mkdirSync(context);
writeFileSync(
  join(context, "Dockerfile"),
  `FROM busybox
ENV SAID=yes
WORKDIR /work
RUN --mount=type=secret,id=word,env=WORD echo made > made; echo said; exit 7
`,
);
writeFileSync(join(context, "word"), "hush");

afterAll(() => scratch[Symbol.asyncDispose]());

function debug(...flags: string[]): Bun.Subprocess<"pipe", "pipe", "pipe"> {
  return Bun.spawn([...vitrineCommand, "build", "--debug", ...flags, context], {
    cwd: projectRoot,
    env: { ...process.env, DOCKER_HOST: `unix://${engine.socket}` },
    stdio: ["pipe", "pipe", "pipe"],
  });
}

/** Images and containers, and the folders of layers. */
async function traces(): Promise<string> {
  const images = await engine.must("image", "ls", "--all", "--quiet", "--no-trunc");
  const containers = await engine.must("ps", "--all", "--quiet");
  const layers = [...new Bun.Glob("*").scanSync({ cwd: join(engine.root, "overlay2"), onlyFiles: false })];
  return [images, containers, ...layers.toSorted()].join("\n");
}

test("a shell is open in what a failed RUN left, with its directory and variables, and nothing of it stays", async () => {
  await engine.vitrine("build", context);
  const before = await traces();
  const build = debug("--secret", `id=word,src=${join(context, "word")}`);
  build.stdin.write('cat made; pwd; echo "$SAID ${WORD-no secret}"\n');
  await build.stdin.end();
  const [stdout, stderr] = await Promise.all([new Response(build.stdout).text(), new Response(build.stderr).text()]);
  expect(await build.exited).toBe(7);
  expect(stdout).toEndWith("said\nmade\n/work\nyes no secret\n");
  expect(stderr).toContain("returned a non-zero code: 7\nThis is what the step left.");
  await waitFor("the engine to be as it was", async () => (await traces()) === before);
});

test("nothing of it stays when the client is killed, though the shell runs", async () => {
  const before = await traces();
  const build = debug();
  await waitFor("the shell", async () => (await engine.must("ps", "--quiet")) !== "");
  build.kill("SIGKILL");
  await build.exited;
  await waitFor("the engine to be as it was", async () => (await traces()) === before);
});

test("nothing of it stays when the engine is killed meanwhile, and begins again", async () => {
  const before = await traces();
  const build = debug();
  await waitFor("the shell", async () => (await engine.must("ps", "--quiet")) !== "");
  await engine.stop("SIGKILL");
  build.kill("SIGKILL");
  await build.exited;
  await engine.start();
  await waitFor("the engine to be as it was", async () => (await traces()) === before);
});

test("a failed build says how to look into it; another engine's cannot be, nor one that draws its progress", async () => {
  const { stderr, exitCode } = await engine.vitrine("build", context);
  expect(exitCode).toBe(7);
  expect(stderr).toContain(
    "returned a non-zero code: 7\nFor a shell in what the command left, run the build again with --debug.",
  );
  expect((await engine.vitrine("build", "--debug", "--progress", "plain", context)).stderr).toContain(
    "--debug has the classic text, and goes without --progress",
  );
});
