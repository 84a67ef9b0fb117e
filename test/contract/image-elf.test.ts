import { describe, expect, test } from "bun:test";
import { copyFileSync, readFileSync, realpathSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readElf } from "../../src/image/elf.ts";
import { HostFiles } from "../../src/image/host-files.ts";
import { HostPrograms, findProgram } from "../../src/image/host-programs.ts";
import { newScratch } from "../support/scratch.ts";

function libraryPathsByLdd(program: string): string[] {
  const output = Bun.spawnSync(["ldd", program]).stdout.toString();
  return [...output.matchAll(/(\/\S+) \(0x/g)].map(([, path = ""]) => realpathSync(path)).toSorted();
}

describe("an ELF reader", () => {
  test.each(["bash", "ls", "tar", "ip"])("finds for %s the libraries that ldd finds", (name) => {
    const path = findProgram(name) ?? "";
    const files = new HostFiles();
    new HostPrograms(files).add(path);
    const found = files.entries().map(([file]) => `/${file}`);
    for (const library of libraryPathsByLdd(path)) expect(found).toContain(library);
  });

  test("tells a program's interpreter and a static program's lack of one", () => {
    expect(readElf(realpathSync("/bin/ls"))?.interpreter).toStartWith("/lib");
    const helper = join(import.meta.dir, "../../dist/vitrine-helper");
    if (Bun.file(helper).size > 0) expect(readElf(helper)?.needed).toEqual([]);
  });

  test("says of another file that it is none", async () => {
    await using scratch = newScratch();
    const path = join(scratch.path, "text");
    writeFileSync(path, "#!/bin/sh\n");
    expect(readElf(path)).toBeUndefined();
    writeFileSync(path, "");
    expect(readElf(path)).toBeUndefined();
  });

  test("refuses a program that is cut short at any length, or reads what is left", async () => {
    await using scratch = newScratch();
    const bytes = readFileSync(realpathSync("/bin/ls"));
    const path = join(scratch.path, "cut");
    for (let length = 0; length < 1200; length += 13) {
      writeFileSync(path, bytes.subarray(0, length));
      try {
        readElf(path);
      } catch (error) {
        expect((error as Error).message).toContain("is broken");
      }
    }
  });

  test("survives random bytes in the headers", async () => {
    await using scratch = newScratch();
    const path = join(scratch.path, "fuzzed");
    copyFileSync(realpathSync("/bin/ls"), path);
    const original = readFileSync(path);
    for (let seed = 1; seed <= 200; seed++) {
      const bytes = Buffer.from(original.subarray(0, 8192));
      for (let at = 0; at < 8; at++) bytes[16 + ((seed * 7919 + at * 104_729) % 900)] = (seed * 31 + at * 17) % 256;
      writeFileSync(path, bytes);
      try {
        readElf(path);
      } catch (error) {
        expect((error as Error).message).toContain("is broken");
      }
    }
  });
});

describe("a program of the host", () => {
  test("brings every link on the way to it", () => {
    const files = new HostFiles();
    new HostPrograms(files).add("/bin/sh");
    const entries = new Map(files.entries());
    const shell = realpathSync("/bin/sh").slice(1);
    expect(entries.get(shell)?.kind).toBe("file");
    if (realpathSync("/bin") === "/usr/bin") expect(entries.get("bin")?.content).toEqual({ linkTo: "usr/bin" });
  });

  test("brings a script's interpreter, and through env the program that env starts", async () => {
    await using scratch = newScratch();
    const script = join(scratch.path, "script");
    writeFileSync(script, "#!/usr/bin/env bash\n", { mode: 0o755 });
    const files = new HostFiles();
    new HostPrograms(files).add(script);
    for (const name of ["usr/bin/env", "usr/bin/bash"]) expect(files.has(name)).toBe(true);
  });

  test("that does not exist is refused by name", () => {
    const programs = new HostPrograms(new HostFiles());
    expect(() => programs.add("no-such-program")).toThrow('The program "no-such-program" is not on this host');
    expect(() => programs.add("/etc/passwd")).toThrow("not an executable file");
    expect(() => programs.add("a/b")).toThrow("neither a name nor an absolute path");
  });
});
