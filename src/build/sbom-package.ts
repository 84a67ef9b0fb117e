import { sbomLimits } from "./sbom-root.ts";

/** `deb`, `apk`, …: the type of a package URL. */
export type PackageType = "apk" | "deb" | "npm" | "pypi" | "rpm";

/** One installed package. Empty texts are never set. */
export interface SbomPackage {
  readonly type: PackageType;
  readonly name: string;
  readonly version: string;
  /** File that told of it, from the root. */
  readonly path: string;
  /** As the package says it, in whatever words. */
  readonly licence?: string | undefined;
  readonly architecture?: string | undefined;
  /** `Organization: …` or `Person: …` is told apart by an address in it. */
  readonly supplier?: string | undefined;
  readonly homepage?: string | undefined;
  readonly downloadUrl?: string | undefined;
  /** Name and version of the source package it was built of, where it differs. */
  readonly source?: string | undefined;
  readonly epoch?: string | undefined;
  /** Algorithm of SPDX (`SHA512`) → hexadecimal digits. */
  readonly checksum?: { readonly algorithm: string; readonly value: string } | undefined;
}

/** What `os-release` says. */
export interface Distribution {
  /** `debian`, `alpine`, `fedora`, … */
  readonly id: string;
  readonly version: string;
  readonly name: string;
}

/** A value for the document: one line, no control characters, bounded. Undefined where nothing is left. */
export function cleanField(value: unknown): string | undefined {
  if (typeof value !== "string" && typeof value !== "number") return undefined;
  const text = String(value)
    .slice(0, 4 * sbomLimits.fieldCharacters)
    .toWellFormed()
    .replaceAll(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, " ")
    .trim()
    .slice(0, sbomLimits.fieldCharacters);
  return text === "" ? undefined : text;
}

/** The package's URL (package-url specification): `pkg:deb/debian/bash@5.2-1?arch=amd64&distro=debian-12`. */
export function packageUrl(item: SbomPackage, distribution: Distribution | undefined): string {
  const qualifiers: [name: string, value: string | undefined][] = [
    ["arch", item.architecture],
    ["distro", isOfDistribution(item) && distribution ? `${distribution.id}-${distribution.version}` : undefined],
    ["epoch", item.epoch],
  ];
  const query = qualifiers
    .flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${escaped(value)}`]))
    .join("&");
  return `pkg:${item.type}/${path(item, distribution)}@${escaped(item.version)}${query === "" ? "" : `?${query}`}`;
}

function isOfDistribution({ type }: SbomPackage): boolean {
  return type === "apk" || type === "deb" || type === "rpm";
}

function path(item: SbomPackage, distribution: Distribution | undefined): string {
  const { name } = item;
  if (item.type === "npm") return name.split("/").map(escaped).join("/");
  if (item.type === "pypi") return escaped(name.toLowerCase().replaceAll("_", "-"));
  const vendors = { apk: "alpine", deb: "debian", rpm: "redhat" } as const;
  const namespace = distribution?.id ?? vendors[item.type];
  return `${escaped(namespace)}/${escaped(item.type === "rpm" ? name : name.toLowerCase())}`;
}

function escaped(text: string): string {
  return encodeURIComponent(text)
    .replaceAll(/[!'()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`)
    .replaceAll("%3A", ":");
}
