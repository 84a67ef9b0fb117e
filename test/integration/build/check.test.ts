// `build --check` through the program and its daemon: what it prints, its exit code, and that it leaves nothing.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import {
  runProgram,
  startTestEngine,
  vitrineCommand,
  type Outcome,
  type TestEngine,
} from "../../support/test-engine.ts";

let engine: TestEngine;

beforeAll(async () => {
  engine = await startTestEngine();
  // An image that is not here yet is not looked into.
  await engine.must("run", "--rm", "vitrine/base", "true");
}, 60_000);

afterAll(async () => {
  await engine[Symbol.asyncDispose]();
}, 60_000);

function folder(name: string, files: Readonly<Record<string, string>>): string {
  const root = join(engine.scratch.path, name);
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return root;
}

describe("build --check", () => {
  test("says that there is nothing to say, builds nothing, and exits with 0", async () => {
    const root = folder("fine", { Dockerfile: 'FROM vitrine/base\nCMD ["sh"]\n' });
    const before = (await engine.vitrine("images", "-aq")).stdout;
    expect(await engine.vitrine("build", "--check", "-t", "never", root)).toMatchObject({
      exitCode: 0,
      stdout: "Check complete, no warnings found.\n",
      stderr: "",
    });
    expect((await engine.vitrine("images", "-aq")).stdout).toBe(before);
  });

  test("prints what it found, knows the variables of the base image and the ignore file, and exits with 1", async () => {
    const root = folder("wrong", {
      "build.Dockerfile": "ARG kind\nFROM vitrine/base\nLABEL a=$PATH b=$kind\nCOPY secret /\n",
      "build.Dockerfile.dockerignore": "secret\n",
      ".dockerignore": "other\n",
    });
    const file = join(root, "build.Dockerfile");
    const { exitCode, stdout, stderr } = await engine.vitrine("build", "--check", "-f", file, root);
    expect({ exitCode, stderr }).toEqual({ exitCode: 1, stderr: "" });
    expect(stdout.split("\n").filter((line) => /^(Check|WARNING|Usage|Attempting)/.test(line))).toEqual([
      "Check complete, 2 warnings have been found!",
      "WARNING: UndefinedVar - https://docs.docker.com/go/dockerfile/rule/undefined-var/",
      "Usage of undefined variable '$kind'",
      "WARNING: CopyIgnoredFile - https://docs.docker.com/go/dockerfile/rule/copy-ignored-file/",
      'Attempting to Copy file "secret" that is excluded by .dockerignore',
    ]);
  });

  test("tells a syntax error with its place", async () => {
    const root = folder("syntax", { Dockerfile: "FROM vitrine/base\n  RUNN true\n" });
    expect(await engine.vitrine("build", "--check", root)).toMatchObject({
      exitCode: 1,
      stdout: "",
      stderr:
        "ERROR: dockerfile parse error on line 2: unknown instruction: RUNN (did you mean RUN?)\n" +
        "Dockerfile:2:3\n   2 |   RUNN true\n     |   ^\n",
    });
  });

  test("tells of a loop of stages", async () => {
    const loop = "FROM scratch AS one\nCOPY --from=two a /\nFROM scratch AS two\nCOPY --from=one b /\n";
    const { exitCode, stderr } = await engine.vitrine("build", "--check", folder("loop", { Dockerfile: loop }));
    expect(exitCode).toBe(1);
    expect(stderr).toContain("circular dependency detected on stage: one (one → two → one)");
  });

  test("takes a Dockerfile from standard input, and build arguments and a target", async () => {
    const text = "ARG base=\nFROM ${base} AS one\nFROM scratch AS two\nCMD true\n";
    const file = join(folder("input", { text }), "text");
    const check = async (...words: string[]): Promise<Outcome> =>
      runProgram(["sh", "-c", 'exec "$@" <"$0"', file, ...vitrineCommand, "build", "--check", ...words, "-"], {
        DOCKER_HOST: `unix://${engine.socket}`,
      });
    const given = await check("--build-arg", "base=vitrine/base", "--target", "one");
    expect(given.exitCode).toBe(1);
    expect(given.stdout).toContain("Check complete, 1 warning has been found!");
    expect(given.stdout).toContain("InvalidDefaultArgInFrom");
    const bare = await check();
    expect(bare.stderr).toContain("base name (${base}) should not be blank");
  });
});
