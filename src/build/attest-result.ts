import { newId } from "../common/index.ts";
import { predicateTypes, type ImageStore } from "../image/index.ts";
import { hostPlatform, platformText } from "../registry/index.ts";
import type { Snapshotter } from "../snapshot/index.ts";
import type { AttestOptions } from "./attest-options.ts";
import type { BuildResult } from "./build-request.ts";
import { MountedSnapshot } from "./mounted-snapshot.ts";
import type { GraphNode } from "./operation.ts";
import { provenancePredicate, type ProvenanceBuild } from "./provenance-predicate.ts";
import { sbomDocument } from "./sbom-document.ts";
import { scanPackages } from "./sbom-scan.ts";

/** Something to be stated of a build's result. */
export interface AttestedPredicate {
  readonly predicateType: string;
  readonly predicate: object;
  /** Where files are exported instead of an image; absent: there it is left out. */
  readonly fileName: string | undefined;
}

interface Services {
  readonly images: ImageStore;
  readonly snapshots: Snapshotter;
}

/**
 * What `--sbom` and `--provenance` ask for: the packages that the result's files hold, and how it was built. Nothing is attached
 * yet: exporters do that.
 */
export async function attestResult(
  services: Services,
  result: Pick<BuildResult, "layers" | "provenance">,
  asked: {
    readonly options: AttestOptions;
    readonly build: ProvenanceBuild;
    /** Of the SBOM's document: the image's, or `sbom`. */
    readonly name?: string | undefined;
    readonly createdAt: Date;
    readonly signal?: AbortSignal | undefined;
  },
): Promise<AttestedPredicate[]> {
  const { options, build } = asked;
  const attested: AttestedPredicate[] = [];
  if (options.sbom) {
    using hold = services.images.hold("sbom");
    const top = result.layers.at(-1);
    if (top !== undefined) hold.add(top);
    await using snapshot = await MountedSnapshot.create(services.snapshots, top);
    const finding = await scanPackages(snapshot.root, asked.signal);
    const predicate = sbomDocument(finding, { name: asked.name ?? "sbom", createdAt: asked.createdAt });
    attested.push({ predicateType: predicateTypes.spdx, predicate, fileName: "sbom.spdx.json" });
  }
  if (options.provenance) {
    const predicate = provenancePredicate(result.provenance, { options: options.provenance, build });
    attested.push({ ...predicate, fileName: options.provenance.inlineOnly ? undefined : "provenance.json" });
  }
  return attested;
}

/** What a provenance says beside the facts, of a graph and of where the context came from (undefined: the client's folders). */
export function provenanceBuild(
  nodes: Iterable<GraphNode>,
  context: { readonly uri: string; readonly digest: string } | undefined,
): ProvenanceBuild {
  const secrets = new Map<string, boolean>();
  const ssh = new Map<string, boolean>();
  const steps: { id: string; name: string; inputs: string[] }[] = [];
  const locals = new Set(context ? [] : ["dockerfile"]);
  for (const { id, name, operation } of nodes) {
    steps.push({ id, name, inputs: operation.inputs.flatMap((input) => (input === undefined ? [] : [input])) });
    if (operation.kind === "local" && !(context && operation.name === "context")) locals.add(operation.name);
    if (operation.kind !== "exec") continue;
    for (const mount of operation.mounts) {
      const found = mount.type === "secret" ? secrets : mount.type === "ssh" ? ssh : undefined;
      if (found && "id" in mount && "required" in mount)
        found.set(mount.id, (found.get(mount.id) ?? true) && !mount.required);
    }
  }
  const facts = (found: ReadonlyMap<string, boolean>): { id: string; optional: boolean }[] =>
    [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([id, optional]) => ({ id, optional }));
  return {
    invocationId: newId().slice(0, 25),
    platform: platformText(hostPlatform()),
    locals: [...locals],
    secrets: facts(secrets),
    ssh: facts(ssh),
    steps,
    ...(context ? { configSource: context } : {}),
  };
}
