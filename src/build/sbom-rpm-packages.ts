import { cleanField, type SbomPackage } from "./sbom-package.ts";
import { berkeleyHeaders, ndbHeaders, RpmDatabaseError, sqliteHeaders } from "./sbom-rpm-storage.ts";
import { sbomLimits, type SbomRoot } from "./sbom-root.ts";

const folders = ["usr/lib/sysimage/rpm", "var/lib/rpm"];
const storages: readonly (readonly [name: string, read: (bytes: Uint8Array) => Generator<Uint8Array>])[] = [
  ["rpmdb.sqlite", sqliteHeaders],
  ["Packages.db", ndbHeaders],
  ["Packages", berkeleyHeaders],
];

/** RPMTAG_… of rpm's rpmtag.h. */
const tags = {
  name: 1000,
  version: 1001,
  release: 1002,
  epoch: 1003,
  vendor: 1011,
  licence: 1014,
  url: 1020,
  architecture: 1022,
  source: 1044,
} as const;
const stringTypes = [6, 9];
const int32Type = 4;
const entryBytes = 16;
const maxEntries = 65536;

/** Installed packages of rpm, whichever of its three databases is there. One that cannot be read is noted. */
export function* rpmPackages(root: SbomRoot): Generator<SbomPackage> {
  for (const folder of folders) {
    for (const [name, headers] of storages) {
      const path = `${folder}/${name}`;
      const bytes = root.bytes(path, sbomLimits.databaseBytes);
      if (!bytes || bytes.length === 0) continue;
      if ((root.bytes(`${path}-wal`, sbomLimits.databaseBytes)?.length ?? 0) > 0) {
        root.note(`${path}-wal`, "the write-ahead log of an rpm database is not read");
      }
      try {
        for (const header of headers(bytes)) {
          const item = packageOf(header, path);
          if (item) yield item;
        }
      } catch (error) {
        if (!(error instanceof RpmDatabaseError)) throw error;
        root.note(path, error.message);
      }
      // /var/lib/rpm is a link to the other folder, or its older state.
      return;
    }
  }
}

/** A header as the database holds it: counts, index and store, without the magic of a package file. Numbers are big endian. */
function packageOf(header: Uint8Array, path: string): SbomPackage | undefined {
  const view = Buffer.from(header.buffer, header.byteOffset, header.byteLength);
  if (view.length < 8) throw new RpmDatabaseError("it has a header that is too short");
  const entries = view.readUInt32BE(0);
  const store = 8 + entries * entryBytes;
  if (entries > maxEntries || store > view.length) throw new RpmDatabaseError("it has a damaged header");
  const values = new Map<number, string>();
  for (let at = 8; at < store; at += entryBytes) {
    const tag = view.readUInt32BE(at);
    const type = view.readUInt32BE(at + 4);
    const start = store + view.readUInt32BE(at + 8);
    if (start >= view.length) continue;
    if (stringTypes.includes(type)) {
      const end = view.indexOf(0, start);
      values.set(tag, view.toString("utf8", start, end < 0 ? view.length : end));
    } else if (type === int32Type && start + 4 <= view.length) values.set(tag, String(view.readUInt32BE(start)));
  }
  const name = cleanField(values.get(tags.name));
  const version = cleanField(values.get(tags.version));
  const release = cleanField(values.get(tags.release));
  // Keys that packages are signed by are kept as packages.
  if (name === undefined || version === undefined || name === "gpg-pubkey") return undefined;
  return {
    type: "rpm",
    name,
    version: release === undefined ? version : `${version}-${release}`,
    path,
    epoch: cleanField(values.get(tags.epoch)),
    licence: cleanField(values.get(tags.licence)),
    supplier: cleanField(values.get(tags.vendor)),
    homepage: cleanField(values.get(tags.url)),
    architecture: cleanField(values.get(tags.architecture)),
    source: cleanField(values.get(tags.source)),
  };
}
