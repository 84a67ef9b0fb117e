// `npm test` and `npm run test:long`: sets up what the tests need, runs them, and ends with `N passed, N failed`.
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { machineState } from "./machine-state.ts";
import { requirePrograms } from "./require-programs.ts";

const root = join(import.meta.dir, "..");
const long = process.argv.includes("--long");
const folders = long ? ["test/long"] : ["test/contract", "test/integration", "test/compat", "test/fault", "test/learn"];
const named = process.argv.slice(2).filter((argument) => !argument.startsWith("--"));

if (process.getuid?.() !== 0) {
  console.error("The tests make namespaces, mounts and networks: run them as root.");
  process.exit(1);
}
await requirePrograms(long ? "long" : "test");
if (!existsSync(join(root, "dist", "vitrine"))) await import("./setup.ts");

const scratch = mkdtempSync(join(tmpdir(), "vitrine-test-"));
const report = join(scratch, "report.xml");
const paths = (named.length > 0 ? named : folders)
  .filter((path) => existsSync(join(root, path)))
  .map((path) => `./${path}`);
const before = new Set(machineState());
const run = Bun.spawn(
  [process.execPath, "test", "--timeout=30000", "--reporter=junit", `--reporter-outfile=${report}`, ...paths],
  {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
  },
);
const status = await run.exited;
const counts = readCounts(report);
rmSync(scratch, { recursive: true, force: true });

// A run that died has no report, or one without failures: it must still count as failed.
const failedTests = status !== 0 && counts.failed === 0 ? 1 : counts.failed;
const left = await leftBehind();
for (const line of left) console.log(`left behind: ${line}`);
const passed = counts.passed + (left.length === 0 ? 1 : 0);
const failed = failedTests + (left.length === 0 ? 0 : 1);
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed > 0 || counts.passed === 0 ? 1 : 0);

/** That the machine is as it was is a test of its own. The kernel takes namespaces apart in the background, hence the patience. */
async function leftBehind(): Promise<string[]> {
  for (let patience = 100; ; patience--) {
    const left = machineState().filter((line) => !before.has(line));
    if (left.length === 0 || patience === 0) return left;
    await Bun.sleep(100);
  }
}

function readCounts(path: string): { passed: number; failed: number } {
  if (!existsSync(path)) return { passed: 0, failed: 1 };
  const head = /<testsuites[^>]*>/.exec(readFileSync(path, "utf8"))?.[0] ?? "";
  const count = (name: string): number => Number(new RegExp(`\\b${name}="(\\d+)"`).exec(head)?.[1] ?? 0);
  const failed = count("failures") + count("errors");
  return { passed: count("tests") - failed - count("skipped"), failed };
}
