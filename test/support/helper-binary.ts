import { mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compileHelper } from "../../scripts/compile-helper.ts";

const key = Symbol.for("vitrine.test.helper");
const shared = globalThis as unknown as Record<symbol, Promise<string> | undefined>;

/** The helper with AddressSanitizer and UndefinedBehaviorSanitizer, compiled once for all test files of a run. */
export function sanitizedHelper(): Promise<string> {
  return (shared[key] ??= compile());
}

/** The file is held open and has no name any more: nothing is left behind, however the run ends. */
async function compile(): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), "vt-helper-"));
  const path = join(folder, "vitrine-helper");
  try {
    await compileHelper(path, { sanitize: true });
    return `/proc/${process.pid}/fd/${openSync(path, "r")}`;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
