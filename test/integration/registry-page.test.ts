import { expect, test } from "bun:test";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readRetention, readWebhooks } from "../../src/registry/index.ts";
import { ChapterShell, matchesOutput, readChapter } from "../support/chapter.ts";
import { newScratch } from "../support/scratch.ts";
import { projectRoot, vitrineCommand } from "../support/test-engine.ts";
import { freePort } from "../support/free-port.ts";

const page = join(projectRoot, "docs", "registry.md");

test("every command of docs/registry.md says what the page shows", async () => {
  await using scratch = newScratch();
  const program = join(scratch.path, "vitrine");
  writeFileSync(program, `#!/bin/sh\nexec ${vitrineCommand.join(" ")} "$@"\n`);
  chmodSync(program, 0o755);
  const environment = { PATH: `${scratch.path}:${process.env.PATH ?? ""}`, TMPDIR: scratch.path };
  await using bash = new ChapterShell({ cwd: scratch.path, environment });
  const exchanges = readChapter(page);
  expect(exchanges.length).toBeGreaterThan(10);
  await using _server = { [Symbol.asyncDispose]: async () => void (await bash.run("kill $(jobs -p); wait")) };
  // The page's port may be somebody's.
  const port = String(await freePort());
  for (const { line, command: shown, expected } of exchanges) {
    const command = shown.replaceAll("5443", port);
    const { output } = await bash.run(command);
    if (!matchesOutput(expected, output))
      expect(`${line} $ ${command}\n${output}`).toBe(`${line} $ ${command}\n${expected.join("\n")}`);
  }
  const { output } = await bash.run('echo "$PWD"');
  expect(readWebhooks(join(output.trim(), "webhooks.json"))).toHaveLength(1);
  expect(readRetention(join(output.trim(), "retention.json"))).toHaveLength(2);
}, 60_000);

test("every option of the page is an option of the command, and the command's help names each", async () => {
  const child = Bun.spawn([...vitrineCommand, "registry", "--help"], { stdout: "pipe" });
  const help = await new Response(child.stdout).text();
  const named = new Set(readFileSync(page, "utf8").match(/(?<=[`\s])--[a-z][a-z0-9-]+/g));
  const others = ["--retry-delay", "--retry-connrefused", "--cacert", "--retry", "--help"];
  const unknown = [...named].filter((option) => !others.includes(option) && !help.includes(`${option} `));
  expect(unknown).toEqual([]);
});
