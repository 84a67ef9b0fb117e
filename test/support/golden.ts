import { expect } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";

/**
 * Compares with a file that holds what is right. A missing one is written with VITRINE_WRITE_GOLDEN=1, so that a new case is one
 * new input and a look at the result; without it a missing one fails.
 */
export function expectGolden(path: string, actual: string): void {
  if (process.env["VITRINE_WRITE_GOLDEN"] === "1" && !existsSync(path)) writeFileSync(path, actual);
  expect(actual).toBe(existsSync(path) ? readFileSync(path, "utf8") : `(there is no ${path})`);
}
