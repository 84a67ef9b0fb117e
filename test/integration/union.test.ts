import { expect, test } from "bun:test";
import { chmodSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ChapterShell, matchesOutput, readChapter } from "../support/chapter.ts";
import { newBtrfsVolume } from "../support/btrfs-volume.ts";
import { shell } from "../support/raw-tar.ts";
import { newScratch } from "../support/scratch.ts";
import { projectRoot, runProgram, vitrineCommand, type Outcome } from "../support/test-engine.ts";

const union = (...words: string[]): Promise<Outcome> => runProgram([...vitrineCommand, "union", ...words]);

function newBranches(): ReturnType<typeof newScratch> & { readonly at: (name: string) => string } {
  const scratch = newScratch();
  const at = (name: string): string => join(scratch.path, name);
  for (const name of ["A", "B", "B2", "C", "E"]) mkdirSync(at(name));
  writeFileSync(at("A/x"), "x of A");
  writeFileSync(at("B/x"), "x of B");
  writeFileSync(at("B2/deep"), "deep");
  return Object.assign(scratch, { at });
}

test("every command of docs/union.md says what the page shows", async () => {
  await using scratch = newScratch();
  const program = join(scratch.path, "vitrine");
  writeFileSync(program, `#!/bin/sh\nexec ${vitrineCommand.join(" ")} "$@"\n`);
  chmodSync(program, 0o755);
  await using bash = new ChapterShell({
    cwd: scratch.path,
    environment: { PATH: `${scratch.path}:${process.env.PATH ?? ""}`, TMPDIR: scratch.path },
  });
  const exchanges = readChapter(join(projectRoot, "docs", "union.md"));
  expect(exchanges.length).toBeGreaterThan(10);
  for (const { line, command, expected } of exchanges) {
    const { output } = await bash.run(command);
    if (!matchesOutput(expected, output))
      expect(`${line} $ ${command}\n${output}`).toBe(`${line} $ ${command}\n${expected.join("\n")}`);
  }
});

test("three branches, names with spaces, a target by symlink; findmnt sees one overlay", async () => {
  await using place = newBranches();
  const spaced = place.at("two words");
  mkdirSync(spaced);
  writeFileSync(join(spaced, "file"), "");
  symlinkSync("C", place.at("link"));
  expect(await union(place.at("A"), spaced, place.at("B2"), place.at("link"))).toMatchObject({
    stderr: "",
    exitCode: 0,
  });
  expect(shell("/", `findmnt -n -o FSTYPE,SOURCE ${place.at("C")}`)).toBe("overlay union\n");
  expect(readdirSync(place.at("C")).sort()).toEqual(["deep", "file", "x"]);
  const { stdout } = await union("-l", place.at("link"));
  expect(
    stdout
      .trimEnd()
      .split("\n")
      .slice(1)
      .map((line) => line.replace(/^\S+ +/, "").replace(/ +/, " ")),
  ).toEqual([`rw ${place.at("A")}`, `ro ${spaced}`, `ro ${place.at("B2")}`]);
  // The kernel's plain forms: nothing in the branch points elsewhere.
  shell(place.at("C"), "chmod 600 deep");
  expect(readFileSync(place.at("A/deep"), "utf8")).toBe("deep");
  expect((await union("-u", place.at("C"))).exitCode).toBe(0);
  expect(readdirSync(place.path)).not.toContain(".A.union");
});

test("what cannot be is refused with its reason, and nothing is mounted or left", async () => {
  await using place = newBranches();
  await using volume = newBtrfsVolume();
  const { at } = place;
  mkdirSync(at("a:b"));
  mkdirSync(at(".B.union/kept"), { recursive: true });
  const before = readdirSync(place.path).sort();
  const refusals: [string[], string][] = [
    [[at("A"), at("C")], "a union needs a read-write branch, a read-only one and a target"],
    [[at("A"), at("nowhere"), at("C")], "is not there"],
    [[at("A"), at("B/x"), at("C")], "is no folder"],
    [[at("A"), at("A"), at("C")], "named twice"],
    [[at("A"), at("a:b"), at("C")], "its name holds one of"],
    [[volume.path, at("A"), at("C")], "is a file system's root"],
    [[at("B"), at("A"), at("C")], "is in the way"],
    [["-u", at("C")], "No union is mounted at"],
    [["-l", at("C")], "No union is mounted at"],
    [["-l", "-u", at("C")], "cannot be given together"],
  ];
  for (const [words, reason] of refusals) {
    const { exitCode, stderr } = await union(...words);
    expect([words, exitCode !== 0, stderr]).toEqual([words, true, expect.stringContaining(reason)]);
  }
  expect(readdirSync(place.path).sort()).toEqual(before);
  expect((await union(at("A"), at("B"), at("C"))).exitCode).toBe(0);
  expect((await union(at("A"), at("B2"), at("E"))).stderr).toContain("is the read-write branch of");
  expect((await union("-u", at("C"))).exitCode).toBe(0);
});

test("an overlay that somebody else mounted is listed and left alone", async () => {
  await using place = newBranches();
  const { at } = place;
  mkdirSync(at("work"));
  shell(place.path, "mount -t overlay other -o lowerdir=$PWD/B,upperdir=$PWD/A,workdir=$PWD/work C");
  expect((await union("-l", at("C"))).stdout).toContain(`rw       ${at("A")}`);
  expect((await union("-u", at("C"))).stderr).toContain("was not mounted as a union");
});
