// The course's pages are executed as they stand, command by command: once with `vitrine`, once with docker's client in its place.
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { ChapterShell, matchesOutput, readChapter } from "../support/chapter.ts";
import { cgroupMark, courseClient, localise, type CourseClient } from "../support/course.ts";
import { newScratch, type Scratch } from "../support/scratch.ts";
import { projectRoot, startTestEngine, type TestEngine } from "../support/test-engine.ts";

const folder = join(projectRoot, "docs", "learn");
const chapters = readdirSync(folder)
  .filter((name) => /^\d\d-.*\.md$/.test(name))
  .sort();
const chapterTimeoutMs = 120_000;

describe.each(["vitrine", "docker"] as const)(
  "every command of the course says what the page shows, with %s",
  (name) => {
    let engine: TestEngine;
    let scratch: Scratch;
    let client: CourseClient;

    beforeAll(async () => {
      engine = await startTestEngine();
      scratch = newScratch();
      client = courseClient(name, engine, scratch.path);
    }, 60_000);

    afterAll(async () => {
      await engine[Symbol.asyncDispose]();
      await scratch[Symbol.asyncDispose]();
    }, 60_000);

    // A chapter cleans up behind itself, and one that failed in its middle did not come to that.
    afterEach(async () => {
      const containers = (await (await engine.api("GET", "/containers/json?all=1")).json()) as { Id: string }[];
      for (const { Id } of containers) await engine.api("DELETE", `/containers/${Id}?force=1&v=1`);
      await engine.api("DELETE", "/volumes/data");
      await engine.api("DELETE", "/images/helloworld");
    });

    test.each(chapters)(
      "%s",
      async (chapter) => {
        await using shell = new ChapterShell({ cwd: projectRoot, environment: client.environment });
        for (const exchange of readChapter(join(folder, chapter))) {
          if (exchange.cgroups && exchange.cgroups !== cgroupMark()) continue;
          const text = localise(exchange.command, client);
          const command = exchange.vitrineOnly ? client.asOurs(text) : text;
          const { output } = await shell.run(command);
          const expected = exchange.expected.map((line) => localise(line, client));
          if (!matchesOutput(expected, output)) {
            expect(`${chapter}:${exchange.line} $ ${command}\n${output}`).toBe(
              `${chapter}:${exchange.line} $ ${command}\n${expected.join("\n")}`,
            );
          }
        }
      },
      chapterTimeoutMs,
    );
  },
);
