// `npm run ok`: format check, lint, types, structure, and all tests. `--checks` leaves the tests out (they ran before).
import { join } from "node:path";

const root = join(import.meta.dir, "..");
const bun = process.execPath;
const checks: readonly (readonly [name: string, command: readonly string[]])[] = [
  ["format", [bun, "fmt", "--check", "src", "test/**/*.ts", "scripts", "bench", "examples/**/*.ts"]],
  [
    "lint",
    [
      join(root, "node_modules/.bin/oxlint"),
      "--quiet",
      "--deny-warnings",
      "src",
      "test",
      "scripts",
      "bench",
      "examples",
    ],
  ],
  ["types", [bun, "check"]],
  ["structure", [bun, "test", "./test/tidy.test.ts"]],
];

let failed = 0;
for (const [name, command] of checks) {
  const run = Bun.spawnSync([...command], { cwd: root, stdout: "pipe", stderr: "pipe" });
  console.log(`${run.exitCode === 0 ? "ok    " : "FAILED"} ${name}`);
  if (run.exitCode === 0) continue;
  failed++;
  process.stdout.write(run.stdout.toString() + run.stderr.toString());
}
if (!process.argv.includes("--checks")) {
  const tests = Bun.spawnSync([bun, "scripts/test.ts"], { cwd: root, stdio: ["ignore", "inherit", "inherit"] });
  if (tests.exitCode !== 0) failed++;
}
console.log(`${checks.length - failed} passed, ${failed} failed`);
process.exit(failed > 0 ? 1 : 0);
