// Compiles the helper (C, static) and the CLI (one executable) into dist/. Run by `npm ci`; repeatable.
import { copyFileSync, linkSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { compileHelper } from "./compile-helper.ts";

const root = join(import.meta.dir, "..");
const dist = join(root, "dist");
mkdirSync(dist, { recursive: true });
try {
  await compileHelper(join(dist, "vitrine-helper"));
  linkBun();
  await compileCli();
} catch (error) {
  console.error((error as Error).message);
  process.exit(1);
}

/** The image vitrine/bun carries the Bun that this project runs on; it lies beside the executable. */
function linkBun(): void {
  const target = join(dist, "bun");
  rmSync(target, { force: true });
  try {
    linkSync(process.execPath, target);
  } catch {
    copyFileSync(process.execPath, target);
  }
}

async function compileCli(): Promise<void> {
  const build = Bun.spawnSync(
    [
      process.execPath,
      "build",
      "--compile",
      "--minify",
      "--bytecode",
      // One chunk a dynamic import: a command reads its own code alone, which halves its start.
      "--splitting",
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
