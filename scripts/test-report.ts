import { existsSync, readFileSync } from "node:fs";

export interface FileOutcome {
  readonly passed: number;
  readonly failed: number;
}

/** What a run of `bun test --reporter=junit` says of each test file. No report, or one that was cut short, has no files. */
export function readReport(path: string): Map<string, FileOutcome> {
  if (!existsSync(path)) return new Map();
  const outcomes = new Map<string, FileOutcome>();
  for (const [head] of readFileSync(path, "utf8").matchAll(/<testsuite [^>]*>/g)) {
    const attribute = (name: string): string => new RegExp(`\\b${name}="([^"]*)"`).exec(head)?.[1] ?? "";
    // A file is a suite that is named for itself; those within it are its `describe`s, and counted already.
    if (attribute("name") !== attribute("file")) continue;
    const failed = Number(attribute("failures")) + Number(attribute("errors"));
    const passed = Number(attribute("tests")) - Number(attribute("skipped")) - failed;
    outcomes.set(attribute("file"), { passed, failed });
  }
  return outcomes;
}
