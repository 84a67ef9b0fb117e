// Compiles the helper (C, static) and the CLI (one executable) into dist/. Run by `npm ci`; repeatable.
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { compileHelper } from "./compile-helper.ts";

const root = join(import.meta.dir, "..");
const dist = join(root, "dist");
mkdirSync(dist, { recursive: true });
await compileHelper(join(dist, "vitrine-helper"));
if (existsSync(join(root, "src", "main.ts"))) await compileCli();

async function compileCli(): Promise<void> {
  const build = Bun.spawnSync(
    [
      process.execPath,
      "build",
      "--compile",
      "--minify",
      "--bytecode",
      "--format=esm",
      "src/main.ts",
      "--outfile",
      join(dist, "vitrine"),
    ],
    { cwd: root, stdout: "pipe", stderr: "pipe" },
  );
  if (build.exitCode !== 0) {
    process.stderr.write(build.stdout.toString() + build.stderr.toString());
    throw new Error("The command line could not be compiled into dist/vitrine; the compiler's words are above.");
  }
}
