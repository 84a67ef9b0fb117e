import { createHash } from "node:crypto";
import { vitrineVersion } from "../common/index.ts";
import { licenceExpression } from "./sbom-licence.ts";
import { packageUrl, type SbomPackage } from "./sbom-package.ts";
import type { SbomFinding } from "./sbom-scan.ts";

const none = "NOASSERTION";
const documentId = "SPDXRef-DOCUMENT";
const rootId = "SPDXRef-Image";

export interface SbomDocumentOptions {
  /** What was scanned: an image's name, or `sbom` where it has none. */
  readonly name: string;
  readonly createdAt: Date;
}

/** An SPDX document (SPDX specification 2.3, JSON). Only what is used here. */
export interface SpdxDocument {
  readonly spdxVersion: "SPDX-2.3";
  readonly dataLicense: "CC0-1.0";
  readonly SPDXID: string;
  readonly name: string;
  readonly documentNamespace: string;
  readonly creationInfo: { readonly created: string; readonly creators: readonly string[] };
  readonly packages: readonly SpdxPackage[];
  readonly relationships: readonly {
    readonly spdxElementId: string;
    readonly relationshipType: "CONTAINS" | "DESCRIBES";
    readonly relatedSpdxElement: string;
  }[];
  readonly hasExtractedLicensingInfos?: readonly { readonly licenseId: string; readonly extractedText: string }[];
  readonly annotations?: readonly {
    readonly annotationDate: string;
    readonly annotationType: "OTHER";
    readonly annotator: string;
    readonly comment: string;
  }[];
}

interface SpdxPackage {
  readonly SPDXID: string;
  readonly name: string;
  readonly versionInfo?: string;
  readonly supplier?: string;
  readonly downloadLocation: string;
  readonly filesAnalyzed: false;
  readonly checksums?: readonly { readonly algorithm: string; readonly checksumValue: string }[];
  readonly homepage?: string;
  readonly sourceInfo?: string;
  readonly licenseConcluded: string;
  readonly licenseDeclared: string;
  readonly copyrightText: string;
  readonly externalRefs?: readonly {
    readonly referenceCategory: "PACKAGE-MANAGER";
    readonly referenceType: "purl";
    readonly referenceLocator: string;
  }[];
  readonly primaryPackagePurpose?: "CONTAINER" | "OPERATING-SYSTEM";
}

/**
 * The document of what was found. Ids and order depend on the finding only; the namespace too, with the name, so that the same
 * image has the same one. What could not be read is an annotation: the document never claims to be whole when it is not.
 */
export function sbomDocument(finding: SbomFinding, { name, createdAt }: SbomDocumentOptions): SpdxDocument {
  const created = `${createdAt.toISOString().slice(0, 19)}Z`;
  const creator = `Tool: vitrine-${vitrineVersion}`;
  const extracted = new Map<string, string>();
  const packages = finding.packages.map((item) => spdxPackage(item, { finding, extracted }));
  const system = operatingSystem(finding);
  const contained = [...(system ? [system] : []), ...packages];
  const image: SpdxPackage = { ...bare(rootId, name), primaryPackagePurpose: "CONTAINER" };
  const contains = contained.map(({ SPDXID }) => ({
    spdxElementId: rootId,
    relationshipType: "CONTAINS" as const,
    relatedSpdxElement: SPDXID,
  }));
  const annotations = finding.unread.map(({ path, reason }) => ({
    annotationDate: created,
    annotationType: "OTHER" as const,
    annotator: creator,
    comment: `not read: /${path}: ${reason}`,
  }));
  const licences = [...extracted]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([licenseId, extractedText]) => ({ licenseId, extractedText }));
  return {
    spdxVersion: "SPDX-2.3",
    dataLicense: "CC0-1.0",
    SPDXID: documentId,
    name,
    documentNamespace: `https://spdx.org/spdxdocs/vitrine-${uuidOf(JSON.stringify([name, contained, annotations.length]))}`,
    creationInfo: { created, creators: ["Organization: Vitrine", creator] },
    packages: [image, ...contained],
    relationships: [
      { spdxElementId: documentId, relationshipType: "DESCRIBES", relatedSpdxElement: rootId },
      ...contains,
    ],
    ...(licences.length > 0 ? { hasExtractedLicensingInfos: licences } : {}),
    ...(annotations.length > 0 ? { annotations } : {}),
  };
}

function bare(SPDXID: string, name: string): SpdxPackage {
  return {
    SPDXID,
    name,
    downloadLocation: none,
    filesAnalyzed: false,
    licenseConcluded: none,
    licenseDeclared: none,
    copyrightText: none,
  };
}

function operatingSystem({ distribution }: SbomFinding): SpdxPackage | undefined {
  if (!distribution) return undefined;
  const { id, version, name } = distribution;
  const SPDXID = `SPDXRef-OperatingSystem-${idPart(id)}`;
  return {
    ...bare(SPDXID, id),
    ...(version === "" ? {} : { versionInfo: version }),
    sourceInfo: name,
    primaryPackagePurpose: "OPERATING-SYSTEM",
  };
}

function spdxPackage(
  item: SbomPackage,
  { finding, extracted }: { finding: SbomFinding; extracted: Map<string, string> },
): SpdxPackage {
  const url = packageUrl(item, finding.distribution);
  const licence = licenceExpression(item.licence);
  for (const [id, words] of licence.extracted) extracted.set(id, words);
  const mark = createHash("sha256")
    .update(JSON.stringify([url, item.path]))
    .digest("hex")
    .slice(0, 16);
  const source = item.source === undefined ? "" : `; built from ${item.source}`;
  return {
    ...bare(`SPDXRef-Package-${item.type}-${idPart(item.name)}-${mark}`, item.name),
    versionInfo: item.version,
    ...(item.supplier === undefined ? {} : { supplier: supplierText(item) }),
    downloadLocation: item.downloadUrl ?? none,
    ...(item.checksum
      ? { checksums: [{ algorithm: item.checksum.algorithm, checksumValue: item.checksum.value }] }
      : {}),
    ...(item.homepage !== undefined && /^https?:\/\/\S+$/.test(item.homepage) ? { homepage: item.homepage } : {}),
    sourceInfo: `acquired package info from /${item.path}${source}`,
    licenseDeclared: licence.expression,
    externalRefs: [{ referenceCategory: "PACKAGE-MANAGER", referenceType: "purl", referenceLocator: url }],
  };
}

/** `Organization: name` or `Person: name (address)`, as the specification has it (7.5). */
function supplierText({ supplier = "", type }: SbomPackage): string {
  const [, name = "", address] = /^(.*?)\s*<([^<>]*)>\s*$/.exec(supplier) ?? [undefined, supplier];
  const isOrganization =
    type === "rpm" || /\b(team|maintainers|developers|foundation|project|inc|llc|gmbh|group)\b/i.test(name);
  const shown = (name === "" ? (address ?? "") : name).replaceAll(/[()]/g, "");
  return `${isOrganization ? "Organization" : "Person"}: ${shown}${address === undefined || name === "" ? "" : ` (${address})`}`;
}

/** What an SPDX id may hold: letters, digits, `.` and `-`. */
function idPart(text: string): string {
  return text.replaceAll(/[^A-Za-z0-9.-]+/g, "-");
}

/** A name-based UUID (RFC 9562, version 8). */
function uuidOf(text: string): string {
  const hex = createHash("sha256").update(text).digest("hex");
  return [hex.slice(0, 8), hex.slice(8, 12), `8${hex.slice(13, 16)}`, `a${hex.slice(17, 20)}`, hex.slice(20, 32)].join(
    "-",
  );
}
