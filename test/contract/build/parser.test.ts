import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { EngineError } from "../../../src/common/index.ts";
import { parseDockerfile, targetStage } from "../../../src/build/index.ts";
import { describeDockerfile } from "../../support/describe-dockerfile.ts";
import { expectGolden } from "../../support/golden.ts";

// Each folder holds a Dockerfile and what it must give.
const fixtures = join(import.meta.dir, "../../fixtures/dockerfiles");

function errorOf(action: () => unknown): EngineError {
  try {
    action();
  } catch (error) {
    if (error instanceof EngineError) return error;
    throw error;
  }
  throw new Error("nothing was refused");
}

describe("a Dockerfile that is right", () => {
  for (const name of readdirSync(join(fixtures, "good"))) {
    test(`gives typed instructions with positions: ${name}`, () => {
      const folder = join(fixtures, "good", name);
      const dockerfile = parseDockerfile(readFileSync(join(folder, "Dockerfile"), "utf8"), { fileName: "Dockerfile" });
      expectGolden(join(folder, "result.txt"), describeDockerfile(dockerfile));
    });
  }
});

describe("a Dockerfile that is wrong", () => {
  for (const name of readdirSync(join(fixtures, "bad"))) {
    test(`is refused with file, line and caret: ${name}`, () => {
      const folder = join(fixtures, "bad", name);
      const text = readFileSync(join(folder, "Dockerfile"), "utf8");
      const error = errorOf(() => parseDockerfile(text, { fileName: "Dockerfile" }));
      expect(error.code).toBe("invalidArgument");
      expectGolden(join(folder, "error.txt"), `${error.message}\n`);
    });
  }

  test("is refused with the limit when it is too large, and so is a line", () => {
    const large = `FROM scratch\n${"#".repeat(99)}\n`.repeat(100_000);
    const error = errorOf(() => parseDockerfile(large, { fileName: "Dockerfile" }));
    expect(error.message).toBe("Dockerfile is larger than 4194304 bytes");
    const line = `FROM scratch\nRUN ${"x".repeat(2 ** 20)}\n`;
    expect(errorOf(() => parseDockerfile(line, { fileName: "Dockerfile" })).message).toStartWith(
      "dockerfile parse error on line 2: dockerfile line greater than max allowed size of 1048576",
    );
  });

  // Each took minutes, or all of the stack, before it was bounded.
  const long = 2 ** 20 - 100;
  const hostile: Record<string, [text: string, problem: string]> = {
    "a run of blanks inside a line": [`FROM scratch\nRUN a${" ".repeat(long)}x\n`, ""],
    "a run of carriage returns": [`FROM scratch\nRUN a${"\r".repeat(long)}x\n`, ""],
    "a directive with a run of blanks": [`# check=a${" ".repeat(long)}b\nFROM scratch\n`, ""],
    "many flags on continued lines": [`FROM scratch\nRUN ${"--mount=type=ssh \\\n".repeat(10_000)}x\n`, ""],
    "many continued lines": [`FROM scratch\nRUN ${"\\\n".repeat(300_000)}x\n`, ""],
    "many stages": ["FROM scratch AS a\n".repeat(2000), "more than 1000 stages"],
  };
  for (const [what, [text, problem]] of Object.entries(hostile)) {
    test(`is read or refused soon: ${what}`, () => {
      const before = performance.now();
      const read = (): unknown => parseDockerfile(text, { fileName: "Dockerfile" });
      if (problem === "") expect(read()).toBeObject();
      else expect(errorOf(read).message).toContain(problem);
      expect(performance.now() - before).toBeLessThan(5000);
    });
  }

  test("says where in its data too", () => {
    const error = errorOf(() => parseDockerfile("FROM scratch\n  FORM x\n", { fileName: "sub/Dockerfile" }));
    expect(error.data).toMatchObject({ file: "sub/Dockerfile", line: 2, column: 3 });
  });
});

describe("a target", () => {
  const { stages } = parseDockerfile("FROM scratch AS build\nFROM scratch\nFROM scratch AS Test\n", {
    fileName: "Dockerfile",
  });

  test("is a stage by its name in any case, by its number, or the last", () => {
    expect(["build", "TEST", "1", "", undefined].map((target) => targetStage(stages, target))).toEqual([0, 2, 1, 2, 2]);
  });

  test("that is not there proposes the nearest", () => {
    expect(() => targetStage(stages, "biuld")).toThrow('target stage "biuld" could not be found (did you mean build?)');
    expect(() => targetStage(stages, "3")).toThrow('target stage "3" could not be found');
  });
});

test("there are as many examples as the language has rules", () => {
  const folders = ["good", "bad", "lint"].flatMap((kind) => readdirSync(join(fixtures, kind)));
  expect(folders.length).toBeGreaterThanOrEqual(200);
});

test("the page about the language names examples that are there, and each check's", () => {
  const page = readFileSync(join(import.meta.dir, "../../../docs/dockerfile.md"), "utf8");
  const named = [...page.matchAll(/`((?:good|bad|lint)\/[\w-]+)`/g)].map(([, name = ""]) => name);
  expect(named.filter((name) => !existsSync(join(fixtures, name, "Dockerfile")))).toEqual([]);
  const rows = page
    .split("\n")
    .flatMap((line) => /^\| ([A-Z]\w+)[^|]*\| `(lint\/[\w-]+)` \|$/.exec(line)?.slice(1, 3) ?? []);
  for (const [index, rule] of rows.entries()) {
    if (index % 2 === 0)
      expect(readFileSync(join(fixtures, rows[index + 1] ?? "", "result.txt"), "utf8")).toContain(rule);
  }
  expect(rows.length / 2).toBe(22);
});
