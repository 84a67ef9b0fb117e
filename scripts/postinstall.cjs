// `npm ci` ends here: hand over to Bun, which npm has just installed, to compile the helper and the CLI into dist/.
const { spawnSync } = require("node:child_process");
const { join } = require("node:path");

const root = join(__dirname, "..");
const bun = join(root, "node_modules", ".bin", "bun");
const result = spawnSync(bun, ["scripts/setup.ts"], { cwd: root, stdio: "inherit" });
if (result.error) {
  console.error(
    `Cannot run "${bun}": ${result.error.message}. Run "npm ci" again with install scripts and optional packages allowed.`,
  );
  process.exit(1);
}
process.exit(result.status ?? 1);
