import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ChapterShell, matchesOutput, readChapter } from "../support/chapter.ts";
import { newScratch } from "../support/scratch.ts";
import { projectRoot, startTestEngine, vitrineProgram, type TestEngine } from "../support/test-engine.ts";

const folder = join(projectRoot, "docs", "learn");
const chapters = readdirSync(folder)
  .filter((name) => /^\d\d-.*\.md$/.test(name))
  .sort();
const chapterTimeoutMs = 120_000;

let engine: TestEngine;
const programs = newScratch();

beforeAll(async () => {
  engine = await startTestEngine();
  for (const client of ["vitrine", "docker"]) mkdirSync(join(programs.path, client));
  symlinkSync(vitrineProgram, join(programs.path, "vitrine", "vitrine"));
  const docker = join(programs.path, "docker", "vitrine");
  writeFileSync(docker, `#!/bin/sh\nexport DOCKER_BUILDKIT=0\nexec docker "$@"\n`);
  chmodSync(docker, 0o755);
}, 60_000);

afterAll(async () => {
  await engine[Symbol.asyncDispose]();
  await programs[Symbol.asyncDispose]();
}, 60_000);

/** The pages say what a reader types; the test's own engine, port and directories stand in for the default ones. */
function localise(text: string, port: number): string {
  return text
    .replaceAll("/var/lib/vitrine", engine.root)
    .replaceAll("/run/vitrine", engine.run)
    .replaceAll("vitrine0", engine.bridge)
    .replaceAll("localhost:4000", `localhost:${port}`)
    .replaceAll("4000:80", `${port}:80`)
    .replaceAll(":4000->", `:${port}->`)
    .replaceAll("/vitrine/$ID", `/${engine.instance}/$ID`);
}

describe.each(["vitrine", "docker"])("every command of the course says what the page shows, with %s", (client) => {
  test.each(chapters)(
    "%s",
    async (chapter) => {
      await using work = newScratch();
      const port = client === "vitrine" ? 41_000 + (process.pid % 1000) : 42_000 + (process.pid % 1000);
      const environment = {
        PATH: `${join(programs.path, client)}:${process.env.PATH}`,
        DOCKER_HOST: `unix://${engine.socket}`,
        WORK: work.path,
      };
      await using shell = new ChapterShell({ cwd: projectRoot, environment });
      for (const exchange of readChapter(join(folder, chapter))) {
        // These commands are vitrine's own; the first of the two runs has executed them.
        const command = localise(exchange.command, port).replace(
          /^/,
          exchange.vitrineOnly ? `PATH=${join(programs.path, "vitrine")}:$PATH; ` : "",
        );
        const { output } = await shell.run(command);
        const expected = exchange.expected.map((line) => localise(line, port));
        if (!matchesOutput(expected, output)) {
          expect(`${chapter}:${exchange.line} $ ${command}\n${output}`).toBe(
            `${chapter}:${exchange.line} $ ${command}\n${expected.join("\n")}`,
          );
        }
      }
    },
    chapterTimeoutMs,
  );
});
