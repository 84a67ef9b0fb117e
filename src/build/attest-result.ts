import { predicateTypes, type ImageStore } from "../image/index.ts";
import type { Snapshotter } from "../snapshot/index.ts";
import type { BuildResult } from "./build-request.ts";
import { MountedSnapshot } from "./mounted-snapshot.ts";
import { provenancePredicate, type ProvenanceBuild, type ProvenanceOptions } from "./provenance-predicate.ts";
import { sbomDocument } from "./sbom-document.ts";
import { scanPackages } from "./sbom-scan.ts";

/** Something to be stated of a build's result. */
export interface AttestedPredicate {
  readonly predicateType: string;
  readonly predicate: object;
  /** Where files are exported instead of an image. */
  readonly fileName: string;
}

/**
 * What `--sbom` and `--provenance` ask for: the packages that the result's files hold, and how it was built. Nothing is attached
 * yet: exporters do that.
 */
export async function attestResult(
  services: { readonly images: ImageStore; readonly snapshots: Snapshotter },
  result: Pick<BuildResult, "layers" | "provenance">,
  asked: {
    readonly sbom: boolean;
    readonly provenance?: { readonly options: ProvenanceOptions; readonly build: ProvenanceBuild } | undefined;
    /** Of the document: the image's, or `sbom`. */
    readonly name?: string;
    readonly createdAt: Date;
    readonly signal?: AbortSignal | undefined;
  },
): Promise<AttestedPredicate[]> {
  const attested: AttestedPredicate[] = [];
  if (asked.sbom) {
    using hold = services.images.hold("sbom");
    const top = result.layers.at(-1);
    if (top !== undefined) hold.add(top);
    await using snapshot = await MountedSnapshot.create(services.snapshots, top);
    const finding = await scanPackages(snapshot.root, asked.signal);
    const predicate = sbomDocument(finding, { name: asked.name ?? "sbom", createdAt: asked.createdAt });
    attested.push({ predicateType: predicateTypes.spdx, predicate, fileName: "sbom.spdx.json" });
  }
  if (asked.provenance) {
    attested.push({ ...provenancePredicate(result.provenance, asked.provenance), fileName: "provenance.json" });
  }
  return attested;
}
