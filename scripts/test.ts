// `npm test` and `npm run test:long`: sets up what the tests need, runs them, and ends with `N passed, N failed`.
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { machineState } from "./machine-state.ts";
import { requirePrograms } from "./require-programs.ts";
import { readReport, type FileOutcome } from "./test-report.ts";

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

/** A machine that is short of breath may fail a test; so many files at the most are asked again, each alone. */
const maxUnsteadyFiles = 3;

const paths = (named.length > 0 ? named : folders).filter((path) => existsSync(join(root, path)));
const before = new Set(machineState());
const first = await runTests(paths);
const broken = [...first.outcomes].filter(([, { failed }]) => failed > 0).map(([file]) => file);
const outcomes = new Map(first.outcomes);
if (broken.length > 0 && broken.length <= maxUnsteadyFiles) {
  console.log(`\nFailed, and asked once more: ${broken.join(", ")}`);
  for (const file of broken)
    for (const [again, outcome] of (await runTests([file])).outcomes) outcomes.set(again, outcome);
  for (const file of broken) console.log(`${outcomes.get(file)?.failed === 0 ? "unsteady" : "failing"}: ${file}`);
}
const left = await leftBehind();
for (const line of left) console.log(`left behind: ${line}`);

const total = (what: "passed" | "failed"): number => [...outcomes.values()].reduce((sum, one) => sum + one[what], 0);
// A run that died has no report, or one without failures: it must still count as failed.
const died = first.status !== 0 && broken.length === 0 ? 1 : 0;
const passed = total("passed") + (left.length === 0 ? 1 : 0);
const failed = total("failed") + died + (left.length === 0 ? 0 : 1);
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed > 0 || outcomes.size === 0 ? 1 : 0);

async function runTests(files: readonly string[]): Promise<{ status: number; outcomes: Map<string, FileOutcome> }> {
  const scratch = mkdtempSync(join(tmpdir(), "vitrine-test-"));
  const report = join(scratch, "report.xml");
  const options = ["--timeout=30000", "--reporter=junit", `--reporter-outfile=${report}`];
  const run = Bun.spawn([process.execPath, "test", ...options, ...files.map((path) => `./${path}`)], {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
  });
  const status = await run.exited;
  const outcomes = readReport(report);
  rmSync(scratch, { recursive: true, force: true });
  return { status, outcomes };
}

/** That the machine is as it was is a test of its own. The kernel takes namespaces apart in the background, hence the patience. */
async function leftBehind(): Promise<string[]> {
  for (let patience = 100; ; patience--) {
    const left = machineState().filter((line) => !before.has(line));
    if (left.length === 0 || patience === 0) return left;
    await Bun.sleep(100);
  }
}
