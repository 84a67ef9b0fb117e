import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { EngineError } from "../../../src/common/index.ts";
import { parseDockerfile } from "../../../src/build/index.ts";
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

  test("says where in its data too", () => {
    const error = errorOf(() => parseDockerfile("FROM scratch\n  FORM x\n", { fileName: "sub/Dockerfile" }));
    expect(error.data).toEqual({ file: "sub/Dockerfile", line: 2, column: 3 });
  });
});
