// `npm run test:vm [-- FILE…]`: the suites that depend on the kernel, on cgroup v2 and another kernel, in a virtual machine by software.
// test/vm/initramfs.test.ts runs on the initramfs; then, in a tmpfs that has become the root, the other files of test/vm/ and every test of
// test/integration/ whose name begins with one of `suites`, unchanged. Named files run instead of those.
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative, resolve } from "node:path";
import { installPackages } from "./require-programs.ts";
import { findKernel } from "./vm/kernel.ts";
import { runMachine } from "./vm/machine.ts";
import { writeRoot } from "./vm/root.ts";

/** Beginnings of file names in test/integration/: a suite joins by its name. None of them may need a compiler, a network or docker. */
const suites = ["cgroup", "process", "limits", "runtime"];
const limitMs = 150_000;

const project = resolve(import.meta.dir, "..");
if (process.arch !== "x64") fail(`The virtual machine runs on x86-64 only, and this is ${process.arch}.`);
await requirePackages();
const kernel = findKernel();
if (!kernel) fail("There is no kernel /boot/vmlinuz-*-cloud-amd64 with its modules: install linux-image-cloud-amd64.");
if (!existsSync(join(project, "dist/vitrine-helper"))) await import("./compile-helper.ts");

const first = find("test/vm/initramfs.test.ts");
const named = process.argv.slice(2).map((path) => `./${relative(project, resolve(path))}`);
const second =
  named.length > 0 ? named : [...find("test/vm/*.test.ts"), ...find(`test/integration/{${suites.join(",")}}*.test.ts`)];
const scratch = mkdtempSync(join(tmpdir(), "vitrine-vm-"));
const startedAt = performance.now();
const counts = { pass: 0, fail: 0 };
try {
  const initramfs = join(scratch, "initramfs.cpio");
  writeRoot(initramfs, { project, kernel, bun: process.execPath });
  const machine = {
    kernelImage: kernel.image,
    initramfs,
    parameters: {
      "vitrine.first": first.join(","),
      "vitrine.second": second.filter((path) => !first.includes(path)).join(","),
    },
    memoryMebibytes: 2048,
    cpus: 2,
    onLine: count,
  };
  let status = await runMachine({ ...machine, limitMs });
  if (status === undefined) {
    console.log("The virtual machine ended without a result: it is booted once more");
    Object.assign(counts, { pass: 0, fail: 0 });
    status = await runMachine({ ...machine, limitMs });
  }
  console.log(`The virtual machine ran for ${((performance.now() - startedAt) / 1000).toFixed(0)} s`);
  // A run that broke off has failed, whatever its tests said before.
  if (status !== 0 && counts.fail === 0) counts.fail++;
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error));
  counts.fail++;
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
console.log(`${counts.pass} passed, ${counts.fail} failed`);
process.exitCode = counts.fail === 0 ? 0 : 1;

/** The sums that `bun test` ends with, once on each root: ` 77 pass`, ` 2 fail`. */
function count(line: string): void {
  const [, number, kind] = /^ *(\d+) (pass|fail)$/.exec(line) ?? [];
  if (kind === "pass" || kind === "fail") counts[kind] += Number(number);
}

function find(pattern: string): string[] {
  return [...new Bun.Glob(pattern).scanSync(project)].sort().map((path) => `./${path}`);
}

async function requirePackages(): Promise<void> {
  const missing: string[] = [];
  if (!Bun.which("qemu-system-x86_64")) missing.push("qemu-system-x86");
  if (!findKernel()) missing.push("linux-image-cloud-amd64");
  if (!Bun.which("busybox")) missing.push("busybox-static");
  // Newer releases compress the kernel's modules.
  if (!Bun.which("xz")) missing.push("xz-utils");
  if (missing.length === 0) return;
  try {
    await installPackages(missing);
  } catch (error) {
    fail(error instanceof Error ? error.message : String(error));
  }
}

function fail(message: string): never {
  console.error(message);
  process.exit(1);
}
