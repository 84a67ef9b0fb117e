import { expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { KeptDigests } from "../../../src/build/kept-digests.ts";
import { SourceTree, type Source } from "../../../src/build/source-tree.ts";
import { newScratch } from "../../support/scratch.ts";

async function digestOf(root: string, kept: KeptDigests, state: string): Promise<Source> {
  using tree = new SourceTree(root, { isContext: true, memory: kept.of(state) });
  const [source] = await tree.resolve(".", { signal: undefined });
  if (!source) throw new Error("no source");
  return source;
}

test("a folder's digests are those of its state, with its single files, and another state is read anew", async () => {
  await using scratch = newScratch();
  const root = join(scratch.path, "folder");
  mkdirSync(join(root, "sub"), { recursive: true });
  writeFileSync(join(root, "sub/file"), "one");
  const kept = new KeptDigests();
  const first = await digestOf(root, kept, "first");
  expect(first.entries?.map(([path]) => path)).toEqual(["sub", "sub/file"]);
  // Whoever keeps the folder names another state after a change; that nothing is read again shows in one that did not.
  writeFileSync(join(root, "sub/file"), "two");
  expect(await digestOf(root, kept, "first")).toEqual(first);
  const second = await digestOf(root, kept, "second");
  expect(second.digest).not.toBe(first.digest);
  expect(second.entries?.[0]).toEqual(first.entries![0]!);
});

test("the states of sixteen folders are remembered, the last used ones", async () => {
  await using scratch = newScratch();
  const file = join(scratch.path, "file");
  const kept = new KeptDigests();
  writeFileSync(file, "before");
  for (let n = 0; n < 16; n++) await digestOf(scratch.path, kept, `state ${n}`);
  const before = await digestOf(scratch.path, kept, "state 0");
  writeFileSync(file, "after");
  await digestOf(scratch.path, kept, "one more");
  expect((await digestOf(scratch.path, kept, "state 0")).digest).toBe(before.digest);
  expect((await digestOf(scratch.path, kept, "state 1")).digest).not.toBe(before.digest);
});
