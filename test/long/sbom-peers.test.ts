import { expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { sqliteHeaders } from "../../src/build/sbom-rpm-storage.ts";
import { scanPackages } from "../../src/build/sbom-scan.ts";
import { newScratch } from "../support/scratch.ts";

function run(...command: string[]): string {
  const result = Bun.spawnSync(command);
  if (result.exitCode !== 0) throw new Error(`${command.join(" ")} failed: ${result.stderr.toString()}`);
  return result.stdout.toString();
}

/** `name version architecture` of each package, as the scan has them and as the package's own program does. */
async function scanned(root: string, type: string): Promise<string[]> {
  const { packages } = await scanPackages(root);
  return packages
    .filter((item) => item.type === type)
    .map((item) => `${item.name} ${item.version} ${item.architecture}`);
}

test("databases that rpm and Berkeley DB wrote themselves are read as rpm reads them", async () => {
  await using scratch = newScratch();
  const { path } = scratch;
  const names = ["alpha", "beta", "gamma"];
  for (const [index, name] of names.entries()) {
    const specification = [
      `Name: ${name}`,
      `Version: ${index + 1}.0`,
      "Release: 1",
      "Epoch: 2",
      "Summary: x",
      "License: GPLv2+",
      "BuildArch: noarch",
      "%description",
      "x".repeat(index * 5000),
      "%files",
    ];
    writeFileSync(join(path, `${name}.spec`), `${specification.join("\n")}\n`);
    run("rpmbuild", "-bb", "--define", `_topdir ${path}/top`, join(path, `${name}.spec`));
  }
  const folder = join(path, "new/var/lib/rpm");
  mkdirSync(folder, { recursive: true });
  const packages = names.map((name, index) => join(path, `top/RPMS/noarch/${name}-${index + 1}.0-1.noarch.rpm`));
  run("rpm", "-i", "--justdb", "--nodeps", "--dbpath", folder, ...packages);
  const expected = run("rpm", "-qa", "--dbpath", folder, "--qf", "%{NAME} %{VERSION}-%{RELEASE} %{ARCH}\\n")
    .trim()
    .split("\n")
    .sort();
  expect(expected).toHaveLength(3);
  expect(await scanned(join(path, "new"), "rpm")).toEqual(expected);

  const old = join(path, "old/var/lib/rpm");
  mkdirSync(old, { recursive: true });
  const rows = [...sqliteHeaders(readFileSync(join(folder, "rpmdb.sqlite")))].map((header, index) => {
    const key = Buffer.alloc(4);
    key.writeUInt32LE(index + 1);
    return ` ${key.toString("hex")}\n ${Buffer.from(header).toString("hex")}\n`;
  });
  const dump = join(path, "dump");
  writeFileSync(
    dump,
    `VERSION=3\nformat=bytevalue\ntype=hash\ndb_pagesize=4096\nHEADER=END\n${rows.join("")}DATA=END\n`,
  );
  run("db5.3_load", "-f", dump, join(old, "Packages"));
  expect(await scanned(join(path, "old"), "rpm")).toEqual(expected);
});

test("this machine's packages are those that dpkg lists", async () => {
  const listed = run("dpkg-query", "-W", "-f", "${db:Status-Status} ${Package} ${Version} ${Architecture}\\n");
  const installed = listed
    .split("\n")
    .filter((line) => line.startsWith("installed "))
    .map((line) => line.slice("installed ".length));
  await using scratch = newScratch();
  mkdirSync(join(scratch.path, "var/lib/dpkg"), { recursive: true });
  writeFileSync(join(scratch.path, "var/lib/dpkg/status"), readFileSync("/var/lib/dpkg/status"));
  expect(new Set(await scanned(scratch.path, "deb"))).toEqual(new Set(installed));
});
