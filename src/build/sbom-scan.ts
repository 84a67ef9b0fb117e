import { apkPackages, dpkgPackages } from "./sbom-distribution-packages.ts";
import { LanguagePackages } from "./sbom-language-packages.ts";
import { cleanField, type Distribution, type SbomPackage } from "./sbom-package.ts";
import { SbomRoot, sbomLimits, type Unread } from "./sbom-root.ts";
import { rpmPackages } from "./sbom-rpm-packages.ts";

/** What was found in a root directory. The same files give the same finding. */
export interface SbomFinding {
  readonly distribution: Distribution | undefined;
  /** In order of type, name, version and path; each once. */
  readonly packages: readonly SbomPackage[];
  /** What should have been read and was not, with the reason. */
  readonly unread: readonly Unread[];
}

/**
 * The packages that a root directory holds, by the records of dpkg, apk, rpm, npm and pip. Only files are read, none outside of
 * the root, each up to a limit (`sbomLimits`); nothing of the image is executed.
 */
export async function scanPackages(directory: string, signal?: AbortSignal): Promise<SbomFinding> {
  using root = new SbomRoot(directory);
  const found = new Map<string, SbomPackage>();
  let isFull = false;
  const add = (item: SbomPackage): void => {
    const key = JSON.stringify([item.type, item.name, item.version, item.architecture ?? "", item.path]);
    if (found.size < sbomLimits.packages || found.has(key)) found.set(key, item);
    else if (!isFull) {
      isFull = true;
      root.note(item.path, `there are more than ${sbomLimits.packages} packages`);
    }
  };
  for (const packages of [dpkgPackages, apkPackages, rpmPackages]) {
    signal?.throwIfAborted();
    for (const item of packages(root)) add(item);
  }
  const languages = new LanguagePackages(root);
  for await (const { path, stat } of root.walk(signal)) {
    if (stat.type !== "file") continue;
    const item = languages.read(path);
    if (item) add(item);
  }
  const packages = [...found.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, item]) => item);
  return { distribution: readDistribution(root), packages, unread: root.unread };
}

/** os-release(5). */
function readDistribution(root: SbomRoot): Distribution | undefined {
  const text = root.text("etc/os-release") ?? root.text("usr/lib/os-release");
  if (text === undefined) return undefined;
  const fields = new Map<string, string>();
  for (const line of text.split("\n")) {
    const [, name, value = ""] = /^\s*([A-Z_]+)=(.*)$/.exec(line) ?? [];
    if (name !== undefined)
      fields.set(
        name,
        value
          .trim()
          .replace(/^(["'])(.*)\1$/, "$2")
          .replaceAll(/\\(.)/g, "$1"),
      );
  }
  const id = cleanField(fields.get("ID"))?.toLowerCase();
  if (id === undefined) return undefined;
  const version = cleanField(fields.get("VERSION_ID")) ?? "";
  return { id, version, name: cleanField(fields.get("PRETTY_NAME")) ?? `${id} ${version}`.trim() };
}
