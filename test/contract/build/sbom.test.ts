import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { mkdirSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { statement } from "../../../src/image/index.ts";
import { sbomDocument } from "../../../src/build/sbom-document.ts";
import { licenceExpression } from "../../../src/build/sbom-licence.ts";
import { scanPackages } from "../../../src/build/sbom-scan.ts";
import { newScratch } from "../../support/scratch.ts";

function write(root: string, files: Readonly<Record<string, string | Uint8Array>>): void {
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), content);
  }
}

/** `type name version` of what a scan finds, and the document's package URLs. */
async function scan(root: string): Promise<{ found: string[]; urls: string[]; unread: string[] }> {
  const finding = await scanPackages(root);
  const document = sbomDocument(finding, { name: "test", createdAt: new Date(0) });
  return {
    found: finding.packages.map(({ type, name, version }) => `${type} ${name} ${version}`),
    urls: document.packages.flatMap(({ externalRefs = [] }) =>
      externalRefs.map((reference) => reference.referenceLocator),
    ),
    unread: finding.unread.map(({ path, reason }) => `${path}: ${reason}`),
  };
}

const debian = {
  "etc/os-release": 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12"\n',
  "var/lib/dpkg/status": `Package: bash
Status: install ok installed
Maintainer: Matthias Klose <doko@debian.org>
Architecture: amd64
Version: 5.2.15-2+b7
Source: bash (5.2.15-2)
Description: shell
 Package: not-a-field
Homepage: http://tiswww.case.edu/php/chet/bash/bashtop.html

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1.0

Package: libstdc++6
Status: hold ok installed
Architecture: amd64
Version: 1:12.2.0-14
`,
  "var/lib/dpkg/status.d/base": "Package: base-files\nVersion: 12.4\nArchitecture: amd64\n",
  "var/lib/dpkg/status.d/base.md5sums": "0  etc/issue\n",
  "usr/share/doc/bash/copyright":
    "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nLicense: GPL-3+\n text\n\nLicense: Expat\n",
};

test("dpkg's installed packages are found, those of a distroless image too, removed ones not", async () => {
  await using scratch = newScratch();
  write(scratch.path, debian);
  expect(await scan(scratch.path)).toEqual({
    found: ["deb base-files 12.4", "deb bash 5.2.15-2+b7", "deb libstdc++6 1:12.2.0-14"],
    urls: [
      "pkg:deb/debian/base-files@12.4?arch=amd64&distro=debian-12",
      "pkg:deb/debian/bash@5.2.15-2%2Bb7?arch=amd64&distro=debian-12",
      "pkg:deb/debian/libstdc%2B%2B6@1:12.2.0-14?arch=amd64&distro=debian-12",
    ],
    unread: [],
  });
});

test("apk's, npm's and pip's packages are found wherever they lie", async () => {
  await using scratch = newScratch();
  write(scratch.path, {
    "usr/lib/os-release": "ID=alpine\nVERSION_ID=3.20.1\n",
    "lib/apk/db/installed":
      "C:Q1x\nP:musl\nV:1.2.5-r0\nA:x86_64\nL:MIT\nF:lib\n\nP:busybox\nV:1.36.1-r29\nA:x86_64\nL:GPL-2.0-only\n",
    "app/node_modules/left-pad/package.json": '{"name":"left-pad","version":"1.3.0","license":"WTFPL"}',
    "app/node_modules/@scope/inner/package.json":
      '{"name":"@scope/inner","version":"2.0.0","licenses":[{"type":"MIT"},{"type":"ISC"}]}',
    "app/node_modules/left-pad/test/package.json": '{"name":"no-package","version":"1.0.0"}',
    "app/node_modules/.package-lock.json": JSON.stringify({
      packages: {
        "node_modules/left-pad": {
          resolved: "https://registry.npmjs.org/left-pad.tgz",
          integrity: `sha512-${Buffer.alloc(64, 1).toString("base64")}`,
        },
      },
    }),
    "usr/lib/python3/dist-packages/My_Thing-1.0.dist-info/METADATA":
      "Metadata-Version: 2.1\nName: My_Thing\nVersion: 1.0\nClassifier: License :: OSI Approved :: MIT License\n\nVersion: 9\n",
    "opt/old.egg-info/PKG-INFO": "Name: old\nVersion: 0.1\nLicense: UNKNOWN\n",
  });
  expect(await scan(scratch.path)).toEqual({
    found: [
      "apk busybox 1.36.1-r29",
      "apk musl 1.2.5-r0",
      "npm @scope/inner 2.0.0",
      "npm left-pad 1.3.0",
      "pypi My_Thing 1.0",
      "pypi old 0.1",
    ],
    urls: [
      "pkg:apk/alpine/busybox@1.36.1-r29?arch=x86_64&distro=alpine-3.20.1",
      "pkg:apk/alpine/musl@1.2.5-r0?arch=x86_64&distro=alpine-3.20.1",
      "pkg:npm/%40scope/inner@2.0.0",
      "pkg:npm/left-pad@1.3.0",
      "pkg:pypi/my-thing@1.0",
      "pkg:pypi/old@0.1",
    ],
    unread: [],
  });
  const document = sbomDocument(await scanPackages(scratch.path), { name: "test", createdAt: new Date(0) });
  const licences = document.packages.map(({ name, licenseDeclared }) => `${name}: ${licenseDeclared}`);
  expect(licences).toEqual([
    "test: NOASSERTION",
    "alpine: NOASSERTION",
    "busybox: GPL-2.0-only",
    "musl: MIT",
    "@scope/inner: MIT OR ISC",
    "left-pad: WTFPL",
    "My_Thing: MIT",
    "old: NOASSERTION",
  ]);
  expect(document.packages[5]).toMatchObject({
    downloadLocation: "https://registry.npmjs.org/left-pad.tgz",
    checksums: [{ algorithm: "SHA512", checksumValue: "01".repeat(64) }],
  });
});

/** A header as rpm's databases hold it: tag, type and value of each entry (rpm's header format). */
function rpmHeader(name: string): Buffer {
  const entries: [tag: number, type: number, value: Buffer][] = [
    [1000, 6, Buffer.from(`${name}\0`)],
    [1001, 6, Buffer.from("1.2\0")],
    [1002, 6, Buffer.from("3.fc40\0")],
    [1003, 4, Buffer.from([0, 0, 0, 4])],
    [1014, 6, Buffer.from("GPLv2+ and MIT\0")],
    [1022, 6, Buffer.from("x86_64\0")],
  ];
  const index: Buffer[] = [];
  let offset = 0;
  for (const [tag, type, value] of entries) {
    const entry = Buffer.alloc(16);
    for (const [place, number] of [tag, type, offset, 1].entries()) entry.writeUInt32BE(number, 4 * place);
    index.push(entry);
    offset += value.length;
  }
  const counts = Buffer.alloc(8);
  counts.writeUInt32BE(entries.length, 0);
  counts.writeUInt32BE(offset, 4);
  return Buffer.concat([counts, ...index, ...entries.map(([, , value]) => value)]);
}

function ndbFile(headers: readonly Buffer[]): Buffer {
  const slots = Buffer.alloc(4096);
  slots.write("RpmP", 0, "latin1");
  slots.writeUInt32LE(1, 12);
  for (let at = 32; at < 4096; at += 16) slots.write("Slot", at, "latin1");
  const blobs: Buffer[] = [];
  let block = 4096 / 16;
  for (const [place, header] of headers.entries()) {
    const at = 32 + 16 * place;
    slots.writeUInt32LE(place + 1, at + 4);
    slots.writeUInt32LE(block, at + 8);
    const blob = Buffer.alloc(Math.ceil((16 + header.length) / 16) * 16);
    blob.write("BlbS", 0, "latin1");
    blob.writeUInt32LE(place + 1, 4);
    blob.writeUInt32LE(header.length, 12);
    header.copy(blob, 16);
    blobs.push(blob);
    block += blob.length / 16;
  }
  return Buffer.concat([slots, ...blobs]);
}

test("rpm's packages are found in SQLite's form, with a write-ahead log asked for, and in SUSE's own", async () => {
  await using scratch = newScratch();
  const [sqlite, ndb] = ["sqlite", "ndb"].map((name) => join(scratch.path, name)) as [string, string];
  mkdirSync(join(sqlite, "usr/lib/sysimage/rpm"), { recursive: true });
  const database = new Database(join(sqlite, "usr/lib/sysimage/rpm/rpmdb.sqlite"));
  database.run("PRAGMA journal_mode = WAL");
  database.run("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)");
  for (const name of ["zlib", "bash", "gpg-pubkey"])
    database.run("INSERT INTO Packages (blob) VALUES (?)", [rpmHeader(name)]);
  database.close();
  write(sqlite, { "etc/os-release": "ID=fedora\nVERSION_ID=40\n" });
  write(ndb, { "usr/lib/sysimage/rpm/Packages.db": ndbFile([rpmHeader("zypper"), rpmHeader("aaa_base")]) });
  expect((await scan(sqlite)).urls).toEqual([
    "pkg:rpm/fedora/bash@1.2-3.fc40?arch=x86_64&distro=fedora-40&epoch=4",
    "pkg:rpm/fedora/zlib@1.2-3.fc40?arch=x86_64&distro=fedora-40&epoch=4",
  ]);
  expect((await scan(ndb)).found).toEqual(["rpm aaa_base 1.2-3.fc40", "rpm zypper 1.2-3.fc40"]);
});

test("a database that cannot be read is named in the document instead of silently left out", async () => {
  const damaged: [name: string, content: Buffer, reason: string][] = [
    ["rpmdb.sqlite", Buffer.from("no database at all"), "SQLite refuses it: file is not a database"],
    ["Packages.db", ndbFile([rpmHeader("a")]).subarray(0, 4096 + 20), "it has a damaged blob"],
    ["Packages", Buffer.alloc(8192, 7), "it is no hash of Berkeley DB"],
  ];
  for (const [name, content, reason] of damaged) {
    await using scratch = newScratch();
    write(scratch.path, { [`var/lib/rpm/${name}`]: content });
    expect((await scan(scratch.path)).unread).toEqual([`var/lib/rpm/${name}: ${reason}`]);
    const document = sbomDocument(await scanPackages(scratch.path), { name: "test", createdAt: new Date(0) });
    expect(document.annotations?.map(({ comment }) => comment)).toEqual([`not read: /var/lib/rpm/${name}: ${reason}`]);
  }
});

test("nothing outside of the root is read, and giant, special and broken files do no harm", async () => {
  await using scratch = newScratch();
  const outside = join(scratch.path, "outside");
  const root = join(scratch.path, "root");
  write(outside, { status: "Package: secret\nVersion: 1\n", METADATA: "Name: secret\nVersion: 1\n" });
  write(root, {
    "etc/os-release": Buffer.from([0x49, 0x44, 0x3d, 0xff, 0xfe, 0x0a]),
    "var/lib/dpkg/status.d/bad": Buffer.concat([
      Buffer.from("Package: bad"),
      Buffer.from([0xff, 0x07, 0xc3]),
      Buffer.from("\nVersion: 1\n"),
    ]),
    "app/node_modules/broken/package.json": "{",
    "app/node_modules/list/package.json": "[1]",
    "app/node_modules/numbers/package.json": '{"name":1,"version":{}}',
    "lib/apk/db/installed": "",
    "py/huge.dist-info/METADATA": "",
  });
  symlinkSync(join(outside, "status"), join(root, "var/lib/dpkg/status"));
  symlinkSync(outside, join(root, "py/x.dist-info"));
  symlinkSync("/", join(root, "loop"));
  truncateSync(join(root, "py/huge.dist-info/METADATA"), 8 * 1024 ** 3);
  expect(Bun.spawnSync(["mkfifo", join(root, "var/lib/dpkg/status.d/pipe")]).exitCode).toBe(0);
  const { found, unread } = await scan(root);
  expect(found).toEqual(["deb bad\uFFFD \uFFFD 1"]);
  expect(unread).toEqual([
    "var/lib/dpkg/status.d/pipe: it is a fifo, not a file",
    "app/node_modules/broken/package.json: it is no JSON object",
    "app/node_modules/list/package.json: it is no JSON object",
    "py/huge.dist-info/METADATA: it is larger than 67108864 bytes",
  ]);
});

test("the same files give the same document on another day, but for the day", async () => {
  await using scratch = newScratch();
  write(scratch.path, debian);
  const [one, two] = await Promise.all(
    [0, 86_400_000].map(async (time) =>
      sbomDocument(await scanPackages(scratch.path), { name: "test", createdAt: new Date(time) }),
    ),
  );
  expect(one?.creationInfo.created).toBe("1970-01-01T00:00:00Z");
  expect({ ...one, creationInfo: 0 }).toEqual({ ...two, creationInfo: 0 } as never);
});

test("the document is whole: unique ids of SPDX's form, every relationship's ends, licences explained", async () => {
  await using scratch = newScratch();
  write(scratch.path, debian);
  write(scratch.path, {
    "usr/share/doc/libstdc++6/copyright":
      "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nLicense: My own & special\n",
  });
  const document = sbomDocument(await scanPackages(scratch.path), { name: "pkg:docker/app@1", createdAt: new Date(0) });
  const ids = [document.SPDXID, ...document.packages.map(({ SPDXID }) => SPDXID)];
  expect(new Set(ids).size).toBe(ids.length);
  for (const id of ids) expect(id).toMatch(/^SPDXRef-[A-Za-z0-9.-]+$/);
  for (const { spdxElementId, relatedSpdxElement } of document.relationships) {
    expect([ids.includes(spdxElementId), ids.includes(relatedSpdxElement)]).toEqual([true, true]);
  }
  expect(document.relationships).toHaveLength(ids.length - 1);
  expect(document.hasExtractedLicensingInfos).toEqual([
    { licenseId: "LicenseRef-My-own-special", extractedText: "My own & special" },
  ]);
  expect(document.documentNamespace).toMatch(/^https:\/\/spdx\.org\/spdxdocs\/vitrine-[0-9a-f-]{36}$/);
  const attested = statement("https://spdx.dev/Document", {
    subjects: [{ name: "_", digest: `sha256:${"ab".repeat(32)}` }],
    predicate: document,
  });
  expect(attested).toMatchObject({
    _type: "https://in-toto.io/Statement/v1",
    subject: [{ name: "_", digest: { sha256: "ab".repeat(32) } }],
    predicate: { spdxVersion: "SPDX-2.3" },
  });
});

test("words about licences become expressions of SPDX, or a reference that keeps them", () => {
  const words: [text: string | undefined, expression: string][] = [
    [undefined, "NOASSERTION"],
    ["MIT", "MIT"],
    ["mit", "MIT"],
    ["GPL-2+", "GPL-2.0-or-later"],
    ["GPLv2+ and MIT", "GPL-2.0-or-later AND MIT"],
    ["GPLv3", "GPL-3.0-only"],
    ["LGPL-2.1+", "LGPL-2.1-or-later"],
    ["(MIT OR Apache-2.0)", "(MIT OR Apache-2.0)"],
    ["GPL-2.0-only WITH Classpath-exception-2.0", "GPL-2.0-only WITH Classpath-exception-2.0"],
    ["Expat", "MIT"],
    ["BSD-3-Clause, ISC", "BSD-3-Clause AND ISC"],
    ["Public Domain", "LicenseRef-public-domain"],
    ["GPL-2+ with Own exception", "LicenseRef-GPL-2-with-Own-exception"],
    ["MIT and (", "LicenseRef-MIT-and"],
    ["and", "LicenseRef-and"],
  ];
  for (const [text, expression] of words)
    expect([text, licenceExpression(text).expression]).toEqual([text, expression]);
  expect(licenceExpression(")(").expression).toMatch(/^LicenseRef--[0-9a-f]{8}$/);
});
