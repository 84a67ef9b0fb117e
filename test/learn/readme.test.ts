// The README's tour is executed as it stands, and what it points at is there.
import { expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ChapterShell, matchesOutput, readChapter } from "../support/chapter.ts";
import { courseClient, localise } from "../support/course.ts";
import { newScratch } from "../support/scratch.ts";
import { projectRoot, startTestEngine } from "../support/test-engine.ts";

const readme = join(projectRoot, "README.md");

test("the five-minute tour says what it shows", async () => {
  await using engine = await startTestEngine();
  await using scratch = newScratch();
  const client = courseClient("vitrine", engine, scratch.path);
  await using shell = new ChapterShell({ cwd: projectRoot, environment: client.environment });
  for (const exchange of readChapter(readme)) {
    const command = localise(exchange.command, client);
    const { output } = await shell.run(command);
    const expected = exchange.expected.map((line) => localise(line, client));
    if (!matchesOutput(expected, output))
      expect(`$ ${command}\n${output}`).toBe(`$ ${command}\n${expected.join("\n")}`);
  }
}, 60_000);

test("every link leads to a file of the project, and every claim names a test", () => {
  const text = readFileSync(readme, "utf8");
  const links = [...text.matchAll(/\]\(([^)]+)\)/g)].map((match) => match[1] ?? "");
  expect(links.filter((link) => !existsSync(join(projectRoot, link)))).toEqual([]);
  const rows = text.split("\n").filter((line) => /^\| [^\s|-]/.test(line));
  expect(rows.filter((row) => !/\]\(test\/[^)]+\.test\.ts\) \|$/.test(row))).toEqual([]);
});
