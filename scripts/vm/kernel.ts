import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** A kernel image and the folder of its modules. */
export interface GuestKernel {
  readonly version: string;
  readonly image: string;
  readonly modules: string;
}

export interface KernelModule {
  readonly name: string;
  /** Uncompressed, as finit_module(2) wants it. */
  readonly content: Uint8Array;
}

/** The newest of Debian's cloud kernels that is installed with its modules; undefined when there is none. */
export function findKernel(): GuestKernel | undefined {
  if (!existsSync("/boot")) return undefined;
  const versions = readdirSync("/boot")
    .map((name) => /^vmlinuz-(.*-cloud-amd64)$/.exec(name)?.[1])
    .filter((version) => version !== undefined)
    .filter((version) => existsSync(`/lib/modules/${version}/modules.dep`))
    .sort(
      (a, b) =>
        Bun.semver.order(a.replace(/-.*/, ""), b.replace(/-.*/, "")) || a.localeCompare(b, "en", { numeric: true }),
    );
  const version = versions.at(-1);
  if (version === undefined) return undefined;
  return { version, image: `/boot/vmlinuz-${version}`, modules: `/lib/modules/${version}` };
}

/** The named modules and what they need, each behind what it needs. Names that are built in, or unknown, are left out. */
export function modulesInOrder(kernel: GuestKernel, names: readonly string[]): KernelModule[] {
  const needs = new Map<string, string[]>();
  for (const line of readFileSync(join(kernel.modules, "modules.dep"), "utf8").split("\n")) {
    const [path, dependencies] = line.split(":");
    if (path && dependencies !== undefined) needs.set(path, dependencies.split(" ").filter(Boolean));
  }
  const pathOf = new Map([...needs.keys()].map((path) => [moduleName(path), path]));
  const ordered = new Set<string>();
  for (const name of names) {
    const path = pathOf.get(name);
    if (path === undefined) continue;
    // modules.dep lists what must be loaded first at the end.
    for (const one of [...(needs.get(path) ?? []).toReversed(), path]) ordered.add(one);
  }
  return [...ordered].map((path) => ({ name: moduleName(path), content: readModule(join(kernel.modules, path)) }));
}

/** `nf_tables` for `kernel/net/netfilter/nf_tables.ko.xz`. */
function moduleName(path: string): string {
  return path
    .replace(/^.*\//, "")
    .replace(/\.ko(\.xz|\.zst|\.gz)?$/, "")
    .replaceAll("-", "_");
}

function readModule(file: string): Uint8Array {
  const program = file.endsWith(".xz")
    ? "xz"
    : file.endsWith(".zst")
      ? "zstd"
      : file.endsWith(".gz")
        ? "gzip"
        : undefined;
  if (program === undefined) return readFileSync(file);
  const { stdout, exitCode } = Bun.spawnSync([program, "-dc", file]);
  if (exitCode !== 0) throw new Error(`Cannot unpack the kernel module "${file}" with ${program}`);
  return stdout;
}
