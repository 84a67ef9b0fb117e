// Packages of dpkg and apk, whose databases are text.
import { cleanField, type SbomPackage } from "./sbom-package.ts";
import type { SbomRoot } from "./sbom-root.ts";

const dpkgStatus = "var/lib/dpkg/status";
/** Images without a package manager keep each package's paragraph in a file of its own. */
const dpkgFolder = "var/lib/dpkg/status.d";
const apkDatabases = ["lib/apk/db/installed", "usr/lib/apk/db/installed"];

/** Installed packages of dpkg(1): its status file (deb-control(5)), and the folder that distroless images have instead. */
export function* dpkgPackages(root: SbomRoot): Generator<SbomPackage> {
  const folder = root.names(dpkgFolder).filter((name) => !name.endsWith(".md5sums"));
  for (const path of [dpkgStatus, ...folder.map((name) => `${dpkgFolder}/${name}`)]) {
    const text = root.text(path);
    if (text === undefined) continue;
    for (const fields of paragraphs(text)) {
      const state = fields.get("status");
      // Removed packages stay in the list with their configuration.
      if (state !== undefined && !/\binstalled$/.test(state)) continue;
      const name = cleanField(fields.get("package"));
      const version = cleanField(fields.get("version"));
      if (name === undefined || version === undefined) continue;
      yield {
        type: "deb",
        name,
        version,
        path,
        architecture: cleanField(fields.get("architecture")),
        supplier: cleanField(fields.get("maintainer")),
        homepage: cleanField(fields.get("homepage")),
        source: cleanField(fields.get("source")),
        licence: debianLicence(root, name),
      };
    }
  }
}

/** Installed packages of apk: `P:`, `V:`, … lines of its database, paragraphs apart. */
export function* apkPackages(root: SbomRoot): Generator<SbomPackage> {
  for (const path of apkDatabases) {
    const text = root.text(path);
    if (text === undefined) continue;
    for (const paragraph of text.split(/\n\s*\n/)) {
      const fields = new Map<string, string>();
      for (const line of paragraph.split("\n")) {
        if (line[1] === ":" && !fields.has(line[0] ?? "")) fields.set(line[0] ?? "", line.slice(2));
      }
      const name = cleanField(fields.get("P"));
      const version = cleanField(fields.get("V"));
      if (name === undefined || version === undefined) continue;
      yield {
        type: "apk",
        name,
        version,
        path,
        architecture: cleanField(fields.get("A")),
        licence: cleanField(fields.get("L")),
        supplier: cleanField(fields.get("m")),
        homepage: cleanField(fields.get("U")),
        source: cleanField(fields.get("o")),
      };
    }
    // The second is the same database where /lib is a link to /usr/lib.
    return;
  }
}

/** Fields of RFC 822's form: names in lower case, only the first line of each value. */
export function* paragraphs(text: string): Generator<ReadonlyMap<string, string>> {
  let fields = new Map<string, string>();
  for (const line of text.split(/\r?\n/)) {
    if (line.trim() === "") {
      if (fields.size > 0) yield fields;
      fields = new Map();
      continue;
    }
    const [, name, value = ""] = /^([A-Za-z0-9][A-Za-z0-9-]*):[ \t]*(.*)$/.exec(line) ?? [];
    if (name !== undefined && !fields.has(name.toLowerCase())) fields.set(name.toLowerCase(), value);
  }
  if (fields.size > 0) yield fields;
}

/** The names of the licences in a machine-readable copyright file (DEP 5); undefined for one in prose. */
function debianLicence(root: SbomRoot, name: string): string | undefined {
  if (name.includes("/") || name.startsWith(".")) return undefined;
  const text = root.text(`usr/share/doc/${name}/copyright`);
  if (text === undefined || !/^Format:.*copyright-format/im.test(text.slice(0, 4096))) return undefined;
  const names = new Set([...text.matchAll(/^License:[ \t]*(\S.*)$/gim)].map((match) => (match[1] ?? "").trim()));
  const parts = [...names].sort().map((name) => (/\s(and|or)\s|,/i.test(name) ? `(${name})` : name));
  return cleanField(parts.join(" and "));
}
