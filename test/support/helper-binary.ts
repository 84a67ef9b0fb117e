import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compileHelper } from "../../scripts/compile-helper.ts";

const key = Symbol.for("vitrine.test.helper");
const shared = globalThis as unknown as Record<symbol, Promise<string> | undefined>;

/** The helper with AddressSanitizer and UndefinedBehaviorSanitizer, compiled once for all test files of a run. */
export function sanitizedHelper(): Promise<string> {
  return (shared[key] ??= compile());
}

async function compile(): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), "vt-helper-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, "vitrine-helper");
  await compileHelper(path, { sanitize: true });
  return path;
}
