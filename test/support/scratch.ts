import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A folder of the test's own. Disposal unmounts whatever was mounted below it, then deletes it. */
export interface Scratch extends AsyncDisposable {
  readonly path: string;
}

/** `await using scratch = newScratch()`; the path is short, so that unix sockets fit below it. */
export function newScratch(prefix = "vt-"): Scratch {
  const path = mkdtempSync(join(tmpdir(), prefix));
  return {
    path,
    async [Symbol.asyncDispose]() {
      for (const target of mountsBelow(path)) Bun.spawnSync(["umount", "-l", target]);
      rmSync(path, { recursive: true, force: true });
    },
  };
}

/** Mount points at or below `folder`, innermost first, as the kernel lists them. */
export function mountsBelow(folder: string): string[] {
  return readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "")
    .map((target) => target.replace(/\\(\d{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8))))
    .filter((target) => target === folder || target.startsWith(`${folder}/`))
    .reverse();
}
