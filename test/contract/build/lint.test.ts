import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import {
  buildWarnings,
  describeCheck,
  lintBases,
  lintDockerfile,
  lintReport,
  lintStatus,
  parseDockerfile,
  type Dockerfile,
  type LintOptions,
  type LintResult,
} from "../../../src/build/index.ts";
import { parseIgnoreFile, type ImageConfig, type ImageRunConfig } from "../../../src/spec/index.ts";
import { expectGolden } from "../../support/golden.ts";

// Each folder holds a Dockerfile, perhaps a .dockerignore and options, and what the checks must say.
const fixtures = join(import.meta.dir, "../../fixtures/dockerfiles/lint");

interface Options {
  readonly arguments?: Record<string, string>;
  readonly target?: string;
  readonly bases?: Record<string, ImageRunConfig>;
  readonly architecture?: string;
}

function readOptions(folder: string): LintOptions {
  const read = (name: string): string | undefined =>
    existsSync(join(folder, name)) ? readFileSync(join(folder, name), "utf8") : undefined;
  const options = JSON.parse(read("options.json") ?? "{}") as Options;
  const ignore = read(".dockerignore");
  const architecture = options.architecture ?? (process.arch === "x64" ? "amd64" : process.arch);
  const bases = Object.entries(options.bases ?? {}).map(([reference, config]): [string, ImageConfig] => {
    return [reference, { architecture, os: "linux", config, rootfs: { type: "layers", diff_ids: [] } }];
  });
  return {
    ...(options.arguments ? { arguments: options.arguments } : {}),
    target: options.target,
    bases: new Map(bases),
    ignore: ignore === undefined ? undefined : parseIgnoreFile(ignore),
  };
}

/** `first-last Rule: detail`, one a line; then what ends the build. */
function describeResult({ warnings, error }: LintResult): string {
  const lines = warnings.map(({ firstLine, lastLine, rule, detail }) => `${firstLine}-${lastLine} ${rule}: ${detail}`);
  return [...lines, ...(error ? [`error ${error.message}`] : [])].map((line) => `${line}\n`).join("") || "nothing\n";
}

describe("the checks", () => {
  for (const name of readdirSync(fixtures)) {
    test(`say what Docker's say: ${name}`, () => {
      const folder = join(fixtures, name);
      const dockerfile = parseDockerfile(readFileSync(join(folder, "Dockerfile"), "utf8"), { fileName: "Dockerfile" });
      expectGolden(join(folder, "result.txt"), describeResult(lintDockerfile(dockerfile, readOptions(folder))));
    });
  }
});

describe("a report", () => {
  const text = "# check=error=true\nFROM scratch AS Base\n\nCOPY a \\\n  $b /c\nCMD x\n";
  const dockerfile = parseDockerfile(text, { fileName: "sub/Dockerfile" });
  const result = lintDockerfile(dockerfile);

  test("is printed as buildx prints it, with the lines around each finding", () => {
    expect(describeCheck(result, dockerfile.source)).toBe(`Check complete, 3 warnings have been found!

WARNING: StageNameCasing - https://docs.docker.com/go/dockerfile/rule/stage-name-casing/
Stage name 'Base' should be lowercase
sub/Dockerfile:2
--------------------
   1 |     # check=error=true
   2 | >>> FROM scratch AS Base
   3 |     ${""}
   4 |     COPY a \\
--------------------

WARNING: UndefinedVar - https://docs.docker.com/go/dockerfile/rule/undefined-var/
Usage of undefined variable '$b'
sub/Dockerfile:4
--------------------
   3 |     ${""}
   4 | >>> COPY a \\
   5 | >>>   $b /c
   6 |     CMD x
--------------------

WARNING: JSONArgsRecommended - https://docs.docker.com/go/dockerfile/rule/json-args-recommended/
JSON arguments recommended for CMD to prevent unintended behavior related to OS signals
sub/Dockerfile:6
--------------------
   4 |     COPY a \\
   5 |       $b /c
   6 | >>> CMD x
   7 |     ${""}
--------------------
`);
  });

  test("says so when nothing was found", () => {
    const fine = parseDockerfile("FROM scratch\n", { fileName: "Dockerfile" });
    expect(describeCheck(lintDockerfile(fine), fine.source)).toBe("Check complete, no warnings found.\n");
    expect(lintReport(lintDockerfile(fine), fine.source)).toMatchObject({ statusCode: 0, text: "" });
  });

  test("is data as the frontend answers it", () => {
    const { results, statusCode } = lintReport(result, dockerfile.source);
    expect(statusCode).toBe(1);
    expect(results.warnings[1]).toEqual({
      ruleName: "UndefinedVar",
      description: "Variables should be defined before their use",
      url: "https://docs.docker.com/go/dockerfile/rule/undefined-var/",
      detail: "Usage of undefined variable '$b'",
      location: {
        ranges: [4, 5].map((line) => ({ start: { line, character: 0 }, end: { line, character: 0 } })),
      },
    });
    expect(Buffer.from(results.sources[0]?.data ?? "", "base64").toString()).toBe(text);
    expect(results.buildError?.message).toStartWith("lint violation found for rules: ");
  });

  test("is a build's warnings in the words of its progress", () => {
    const [first] = lintStatus(result.warnings, { vertex: "sha256:ab", file: "sub/Dockerfile" });
    expect(first).toEqual({
      vertex: "sha256:ab",
      level: 1,
      short: "StageNameCasing: Stage name 'Base' should be lowercase (line 2)",
      detail: ["Stage names should be lowercase"],
      url: "https://docs.docker.com/go/dockerfile/rule/stage-name-casing/",
      file: "sub/Dockerfile",
      range: [{ start: { line: 2, column: 1 }, end: { line: 2, column: 1 } }],
    });
  });

  test("needs the configs of those images that FROM lines name, and of no stage", () => {
    const file = parseDockerfile(
      "ARG v=1\nFROM a:$v AS one\nFROM one AS two\nFROM scratch\nFROM $none AS x\nFROM b\n",
      {
        fileName: "Dockerfile",
      },
    );
    expect(lintBases(file, {})).toEqual(["a:1", "b"]);
    expect(lintBases(file, { arguments: { v: "2", none: "c" } })).toEqual(["a:2", "b"]);
  });
});

describe("a build", () => {
  const images = new Map();
  const parse = (text: string): Dockerfile => parseDockerfile(text, { fileName: "Dockerfile" });

  test("tells of the stages that it needs only, and of what .dockerignore leaves out", () => {
    const dockerfile = parse(
      "FROM scratch\nLABEL a=$nope\nFROM scratch AS two\nCOPY secret /\nFROM scratch AS three\n",
    );
    const warnings = (target?: string): readonly string[] =>
      buildWarnings(dockerfile, {
        frontend: { arguments: {}, target },
        images,
        exclude: ["secret"],
      })?.warnings.map(({ short }) => short) ?? [];
    expect(warnings()).toEqual([]);
    expect(warnings("0")).toEqual(["UndefinedVar: Usage of undefined variable '$nope' (line 2)"]);
    expect(warnings("two")).toEqual([
      'CopyIgnoredFile: Attempting to Copy file "secret" that is excluded by .dockerignore (line 4)',
    ]);
  });

  test("fails where the Dockerfile says that findings fail it", () => {
    const dockerfile = parse("# check=error=true\nFROM scratch AS Base\n");
    expect(() => buildWarnings(dockerfile, { frontend: { arguments: {}, target: "" }, images, exclude: [] })).toThrow(
      "lint violation found for rules: StageNameCasing",
    );
  });
});
