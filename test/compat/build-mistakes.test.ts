// What people get wrong when they build, and what they are told: by our command line, and by docker's where the engine speaks.
import { afterAll, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { busyboxEngine } from "../support/busybox-engine.ts";
import { dockerBuild } from "../support/build-example.ts";
import { newScratch } from "../support/scratch.ts";

const engine = busyboxEngine();
const scratch = newScratch();
const context = join(scratch.path, "app");
mkdirSync(join(context, "src"), { recursive: true });
for (const name of ["src/main.py", "requirements.txt", "build.log"]) writeFileSync(join(context, name), `${name}\n`);
writeFileSync(join(context, ".dockerignore"), "*.log\n");

afterAll(() => scratch[Symbol.asyncDispose]());

/** The end of what a build of this Dockerfile says; each must fail. */
async function told(dockerfile: string, ...flags: string[]): Promise<string> {
  writeFileSync(join(context, "Dockerfile"), dockerfile);
  const { exitCode, stderr } = await engine.vitrine("build", ...flags, context);
  expect(exitCode).not.toBe(0);
  return stderr;
}

const missing = "COPY failed: file not found in build context or excluded by .dockerignore: stat";

const mistakes: readonly (readonly [what: string, dockerfile: string, flags: readonly string[], told: string])[] = [
  ["an empty Dockerfile", "", [], "the Dockerfile (Dockerfile) cannot be empty"],
  ["only comments", "# none\n", [], "file with no instructions"],
  ["no FROM", "RUN x\n", [], "dockerfile parse error on line 1: no build stage in current context"],
  [
    "an instruction misspelt",
    "FROM busybox\nRUNN x\n",
    [],
    "unknown instruction: RUNN (did you mean RUN?)\nDockerfile:2:1\n",
  ],
  [
    "an instruction's flag misspelt",
    "FROM busybox\nCOPY --form=x a b\n",
    [],
    "unknown flag: --form (did you mean from?)",
  ],
  ["too few arguments", "FROM busybox\nCOPY a\n", [], "COPY requires at least two arguments"],
  [
    "a file misspelt",
    "FROM busybox\nCOPY requirement.txt /\n",
    [],
    `${missing} requirement.txt: file does not exist (did you mean requirements.txt?)\n`,
  ],
  [
    "a file in another folder",
    "FROM busybox\nCOPY main.py /\n",
    [],
    `${missing} main.py: file does not exist (did you mean src/main.py?)\n`,
  ],
  ["a file in other letters", "FROM busybox\nCOPY SRC/Main.py /\n", [], "(did you mean src/main.py?)"],
  [
    "a file that is ignored",
    "FROM busybox\nCOPY build.log /\n",
    [],
    `${missing} build.log: file does not exist (.dockerignore leaves it out)\n`,
  ],
  ["a file like no other", "FROM busybox\nCOPY zzzzzz /\n", [], `${missing} zzzzzz: file does not exist\n`],
  [
    "wildcards that match nothing",
    "FROM busybox\nCOPY *.rb /x/\n",
    [],
    'COPY failed: no source files were specified: nothing matches "*.rb"',
  ],
  [
    "a path outside",
    "FROM busybox\nCOPY ../x /\n",
    [],
    "COPY failed: forbidden path outside the build context: ../x ()",
  ],
  [
    "a file of a stage misspelt",
    "FROM busybox AS one\nFROM busybox\nCOPY --from=one /etc/paswd /\n",
    [],
    "COPY failed: stat etc/paswd: file does not exist (did you mean etc/passwd?)",
  ],
  [
    "several files onto one",
    "FROM busybox\nCOPY src/main.py requirements.txt /x\n",
    [],
    "the destination must be a directory and end with a /",
  ],
  ["an owner nobody knows", "FROM busybox\nCOPY --chown=nosuch src /x\n", [], "no such user: nosuch"],
  ["a user nobody knows", "FROM busybox\nUSER nosuch\nRUN id\n", [], "unable to find user nosuch"],
  [
    "a command that fails",
    "FROM busybox\nRUN exit 9\n",
    [],
    "The command '/bin/sh -c exit 9' returned a non-zero code: 9\nFor a shell in what the command left, run the build again with --debug.\n",
  ],
  [
    "a program that is not there",
    'FROM busybox\nRUN ["nosuch"]\n',
    [],
    'exec: "nosuch": executable file not found in $PATH',
  ],
  ["an open heredoc", "FROM busybox\nRUN cat <<E\nx\n", [], "unterminated heredoc"],
  [
    "a target misspelt",
    "FROM busybox AS builder\n",
    ["--target", "biulder"],
    "failed to reach build target biulder in Dockerfile (did you mean builder?)",
  ],
  [
    "a secret that is not given",
    "FROM busybox\nRUN --mount=type=secret,id=x,required true\n",
    [],
    "secret x: not found",
  ],
  ["a secret without its file", "FROM busybox\n", ["--secret", "id=x,src=nofile"], "there is no file"],
  [
    "a name with capitals",
    "FROM busybox\n",
    ["-t", "Upper"],
    'invalid argument "Upper" for "-t, --tag" flag: invalid reference format: repository name (library/Upper) must be lowercase',
  ],
  [
    "a name with too many colons",
    "FROM busybox\n",
    ["-t", "a:b:c"],
    'invalid argument "a:b:c" for "-t, --tag" flag: invalid reference format',
  ],
  [
    "a flag misspelt",
    "FROM busybox\n",
    ["--bild-arg", "x=y"],
    "unknown flag: --bild-arg (did you mean --build-arg?)\n",
  ],
  [
    "a progress of no kind",
    "FROM busybox\n",
    ["--progress", "fancy"],
    '"fancy" is none of auto, plain, tty, rawjson, quiet',
  ],
  ["a size that is none", "FROM busybox\n", ["--memory", "lots"], "invalid size: 'lots'"],
  [
    "a Dockerfile that is not there",
    "FROM busybox\n",
    ["-f", join(context, "nofile")],
    "nofile: no such file or directory (did you mean -f ",
  ],
];

for (const [what, dockerfile, flags, sentence] of mistakes) {
  test(`${what} is told with what to do`, async () => {
    expect(await told(dockerfile, ...flags)).toContain(sentence);
  });
}

test("a context that is missing, a file, or without a Dockerfile is refused before anything is sent", async () => {
  const folder = join(scratch.path, "empty");
  mkdirSync(folder);
  const says = async (path: string): Promise<string> => (await engine.vitrine("build", path)).stderr;
  expect(await says(join(scratch.path, "nosuch"))).toContain("not found");
  expect(await says(join(context, "requirements.txt"))).toContain("context must be a directory");
  expect(await says(folder)).toContain("Dockerfile: no such file or directory\n");
  writeFileSync(join(folder, "Dockerfile.dev"), "FROM busybox\n");
  expect(await says(folder)).toContain("Dockerfile.dev?)");
});

test("docker's command line shows the engine's words, and what a failed command printed", async () => {
  writeFileSync(join(context, "Dockerfile"), "FROM busybox\nRUN echo out; echo err >&2; exit 3\n");
  const failed = await dockerBuild(engine.socket, [context]);
  expect(failed.exitCode).toBe(3);
  expect(failed.stdout).toMatch(/out\n/);
  expect(failed.stdout).toMatch(/err\n/);
  expect(failed.stderr).toContain("returned a non-zero code: 3");
  writeFileSync(join(context, "Dockerfile"), "FROM busybox\nCOPY requirement.txt /\n");
  expect((await dockerBuild(engine.socket, [context])).stderr).toContain("(did you mean requirements.txt?)");
});

test("with -f outside of the context docker's root .dockerignore is what counts, and the archive's missing end is forgiven", async () => {
  const file = join(scratch.path, "Elsewhere");
  writeFileSync(file, "FROM busybox\nCOPY . /context\nRUN ls -a /context\n");
  writeFileSync(`${file}.dockerignore`, "requirements.txt\n");
  const { stdout, exitCode } = await dockerBuild(engine.socket, ["-f", file, context]);
  expect(exitCode).toBe(0);
  expect(stdout).toContain("requirements.txt\n");
  expect(stdout).not.toContain("build.log\n");
  expect(stdout).not.toContain(".dockerfile.");
});
