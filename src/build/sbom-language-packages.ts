// Packages of npm and pip, which lie anywhere in a tree.
import { posix } from "node:path";
import { paragraphs } from "./sbom-distribution-packages.ts";
import { cleanField, type SbomPackage } from "./sbom-package.ts";
import type { SbomRoot } from "./sbom-root.ts";

const nodePackage = /(?:^|\/)node_modules\/((?:@[^/]+\/)?[^/@.][^/]*)\/package\.json$/;
const pythonPackage = /\.(?:dist-info\/METADATA|egg-info\/PKG-INFO|egg-info)$/;
/** The part of a METADATA file before its description. */
const maxMetadataCharacters = 64 * 1024;

/** Reads packages of languages by the paths of a walk; one for each scan. */
export class LanguagePackages {
  readonly #root: SbomRoot;
  readonly #locks = new Map<string, ReadonlyMap<string, LockedPackage>>();

  constructor(root: SbomRoot) {
    this.#root = root;
  }

  /** The package that an ordinary file with this path tells of. */
  read(path: string): SbomPackage | undefined {
    if (nodePackage.test(path)) return this.#node(path);
    return pythonPackage.test(path) ? this.#python(path) : undefined;
  }

  #node(path: string): SbomPackage | undefined {
    const manifest = this.#root.object(path);
    if (!manifest) return undefined;
    const name = cleanField(manifest.name);
    const version = cleanField(manifest.version);
    if (name === undefined || version === undefined) return undefined;
    const locked = this.#locked(path);
    return {
      type: "npm",
      name,
      version,
      path,
      licence: nodeLicence(manifest),
      supplier: personText(manifest.author),
      homepage: cleanField(manifest.homepage),
      downloadUrl: locked?.resolved,
      checksum: locked?.checksum,
    };
  }

  /** What npm's own record of the tree, `node_modules/.package-lock.json`, says of a package in it. */
  #locked(path: string): LockedPackage | undefined {
    const folder = posix.dirname(path);
    const top = folder.startsWith("node_modules/") ? "" : folder.slice(0, folder.indexOf("/node_modules/") + 1);
    let lock = this.#locks.get(top);
    if (!lock) {
      lock = lockedPackages(this.#root.object(`${top}node_modules/.package-lock.json`));
      this.#locks.set(top, lock);
    }
    return lock.get(folder.slice(top.length));
  }

  #python(path: string): SbomPackage | undefined {
    const text = this.#root.text(path)?.slice(0, maxMetadataCharacters);
    if (text === undefined) return undefined;
    const [fields] = paragraphs(text);
    const name = cleanField(fields?.get("name"));
    const version = cleanField(fields?.get("version"));
    if (!fields || name === undefined || version === undefined) return undefined;
    const author = cleanField(fields.get("author")) ?? cleanField(fields.get("maintainer"));
    return {
      type: "pypi",
      name,
      version,
      path,
      licence: cleanField(fields.get("license-expression")) ?? pythonLicence(cleanField(fields.get("license")), text),
      supplier: author ?? cleanField(fields.get("author-email")),
      homepage: cleanField(fields.get("home-page")),
    };
  }
}

interface LockedPackage {
  readonly resolved: string | undefined;
  readonly checksum: SbomPackage["checksum"];
}

function lockedPackages(lock: Readonly<Record<string, unknown>> | undefined): ReadonlyMap<string, LockedPackage> {
  const packages = new Map<string, LockedPackage>();
  if (typeof lock?.packages !== "object" || lock.packages === null) return packages;
  for (const [folder, entry] of Object.entries(lock.packages)) {
    if (typeof entry !== "object" || entry === null) continue;
    const { resolved, integrity } = entry as { resolved?: unknown; integrity?: unknown };
    const url = cleanField(resolved);
    packages.set(folder, {
      resolved: url !== undefined && /^https?:/.test(url) ? url : undefined,
      checksum: integrityOf(integrity),
    });
  }
  return packages;
}

/** `sha512-<base64>` (Subresource Integrity); the strongest comes last. */
function integrityOf(integrity: unknown): SbomPackage["checksum"] {
  if (typeof integrity !== "string") return undefined;
  const [, bits, value] = /\bsha(1|256|384|512)-([A-Za-z0-9+/]+={0,2})$/.exec(integrity.trim()) ?? [];
  return bits === undefined || value === undefined
    ? undefined
    : { algorithm: `SHA${bits}`, value: Buffer.from(value, "base64").toString("hex") };
}

function nodeLicence({ license, licenses }: Readonly<Record<string, unknown>>): string | undefined {
  const given = Array.isArray(licenses) ? (licenses as unknown[]) : [license ?? licenses];
  const names = given.map((entry) => cleanField((entry as { type?: unknown } | null)?.type ?? entry));
  return cleanField(names.filter((name) => name !== undefined).join(" OR "));
}

function personText(person: unknown): string | undefined {
  if (typeof person === "string") return cleanField(person);
  const { name, email } = (person ?? {}) as { name?: unknown; email?: unknown };
  const [shown, address] = [cleanField(name), cleanField(email)];
  return shown !== undefined && address !== undefined ? `${shown} <${address}>` : (shown ?? address);
}

/** Many say it by a classifier only, `License :: OSI Approved :: MIT License`; a whole text in the field is no name. */
function pythonLicence(field: string | undefined, text: string): string | undefined {
  if (field !== undefined && field.length <= 100 && field.toUpperCase() !== "UNKNOWN") return field;
  const classifier = /^Classifier:\s*License :: (?:OSI Approved :: )?(.+)$/m.exec(text)?.[1];
  return cleanField(classifier);
}
