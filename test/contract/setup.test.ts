// What `npm ci` says where the machine lacks what it needs.
import { expect, test } from "bun:test";
import { chmodSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { newScratch } from "../support/scratch.ts";
import { projectRoot, runProgram } from "../support/test-engine.ts";

const node = Bun.which("node") ?? "";
const postinstall = [node, join(projectRoot, "scripts", "postinstall.cjs")];

test("without a C compiler npm ci fails, and says in one line which package to install", async () => {
  await using scratch = newScratch();
  symlinkSync(node, join(scratch.path, "node"));
  const { exitCode, stderr } = await runProgram(postinstall, { PATH: scratch.path });
  expect(exitCode).toBe(1);
  expect(stderr).toBe(
    "No C compiler found: install one (Debian: apt-get install gcc libc6-dev), then run npm ci again.\n",
  );
});

test("with a compiler that has no C library npm ci shows its words, and says which package to install", async () => {
  await using scratch = newScratch();
  symlinkSync(node, join(scratch.path, "node"));
  const words = "base.h:4:10: fatal error: errno.h: No such file or directory";
  writeFileSync(join(scratch.path, "cc"), `#!/bin/sh\necho '${words}' >&2\nexit 1\n`);
  chmodSync(join(scratch.path, "cc"), 0o755);
  const { exitCode, stderr } = await runProgram(postinstall, { PATH: scratch.path });
  expect(exitCode).toBe(1);
  expect(stderr).toContain(words);
  expect(stderr).toEndWith("install them (Debian: apt-get install libc6-dev).\n");
});
