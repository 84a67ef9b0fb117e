import { writeSync } from "node:fs";
import { packTree, walkTree } from "../archive/index.ts";
import { EngineError } from "../common/index.ts";
import { statement, type ImageStore, type PushOptions, type StatementSubject } from "../image/index.ts";
import { closeFd, openDirectory, openFlags, openInRoot, tryUnlinkAt } from "../kernel/index.ts";
import type { Snapshotter } from "../snapshot/index.ts";
import { familiarString, parseReference, withDefaultTag, type ProgressMessage } from "../spec/index.ts";
import type { AttestedPredicate } from "./attest-result.ts";
import type { BuildResult } from "./build-request.ts";
import { exportPlatforms } from "./export-platforms.ts";
import type { ExporterOptions } from "./exporter-options.ts";
import { MountedSnapshot } from "./mounted-snapshot.ts";
import { readDescriptor } from "./source-tree.ts";

/** What is exported: the end of a build, or a stage of it. */
export type Exported = Pick<BuildResult, "imageId" | "config" | "layers" | "attestations" | "platforms">;

export interface ExportServices {
  readonly images: ImageStore;
  readonly snapshots: Snapshotter;
}

/** Where an archive goes. It is read at the speed of the sink; a sink that throws ends the export. */
export type ExportSink = (archive: AsyncIterable<Uint8Array>) => Promise<void>;

export interface ExportRequest {
  readonly options: ExporterOptions;
  /** Of local, tar, oci, docker: gets one tar. local's holds the files for the client to unpack. */
  readonly sink?: ExportSink;
  /** Of image and registry, where they push. */
  readonly push?: Omit<PushOptions, "platform">;
  /** Written beside the files by local and tar; kept with the image by the others. */
  readonly attestations?: readonly AttestedPredicate[];
  readonly tell?: (message: ProgressMessage) => void;
  readonly signal?: AbortSignal;
}

/**
 * Hands a build's result over. Answers what BuildKit's exporters answer: `containerimage.config.digest`, `containerimage.digest`
 * (of what was pushed last), `image.name`. oci and docker write the same archive: an OCI layout that holds Docker's manifest.json.
 */
export async function exportResult(
  services: ExportServices,
  result: Exported,
  request: ExportRequest,
): Promise<ReadonlyMap<string, string>> {
  const { options, sink, attestations = [] } = request;
  if (result.platforms) return exportPlatforms(services, result.platforms, request);
  if (options.type === "local" || options.type === "tar") {
    await using tree = await openExportedTree(services, result, request);
    await requireSink(sink)(packTree(tree.root, "/", { name: "" }));
    return new Map();
  }
  using hold = services.images.hold("export");
  const top = result.layers.at(-1);
  if (top !== undefined) hold.add(top);
  const isHere = result.imageId !== undefined || services.images.find(idOf(result)) !== undefined;
  const imageId = await imageOf(services, result);
  for (const attested of attestations) await services.images.attest(imageId, attested);
  const names = options.names.map((name) => familiarString(withDefaultTag(parseReference(name))));
  const answer = new Map([["containerimage.config.digest", imageId]]);
  if (names.length > 0) answer.set("image.name", names.join(","));
  if (options.type === "docker" || options.type === "oci") {
    await requireSink(sink)(await services.images.saveAs(imageId, names));
    // Made for the archive alone.
    if (!isHere) await services.images.remove(imageId, { force: false, noPrune: true, usedBy: () => [] });
    return answer;
  }
  for (const name of names) {
    const { tag = "latest", ...repository } = parseReference(name);
    await services.images.tag(imageId, { repository: familiarString(repository), tag });
  }
  if (!options.push) return answer;
  for (const name of names) {
    for await (const message of services.images.push(name, request.push ?? missing("the registries' settings"))) {
      request.tell?.(message);
      const pushed = (message.aux as { Digest?: unknown } | undefined)?.Digest;
      if (typeof pushed === "string") answer.set("containerimage.digest", pushed);
    }
  }
  return answer;
}

/**
 * The files of a result as one folder, mounted until disposal, for a client that takes files instead of a tar. Attestations are
 * among them as BuildKit has them: statements of every file, in `sbom.spdx.json` and `provenance.json`.
 */
export async function openExportedTree(
  { images, snapshots }: ExportServices,
  { layers }: Exported,
  { options, attestations = [] }: Pick<ExportRequest, "options" | "attestations">,
): Promise<AsyncDisposable & { readonly root: string }> {
  await using opened = new AsyncDisposableStack();
  const hold = opened.use(images.hold("export"));
  const top = layers.at(-1);
  if (top !== undefined) hold.add(top);
  const { root } = opened.use(await MountedSnapshot.create(snapshots, top));
  const subjects = attestations.some(({ fileName }) => fileName !== undefined) ? await fileSubjects(root) : [];
  for (const { fileName, predicateType, predicate } of attestations) {
    if (fileName === undefined) continue;
    const said = statement(predicateType, { subjects, predicate });
    writeFile(root, options.attestationPrefix + fileName, JSON.stringify(said, null, 2));
  }
  const kept = opened.move();
  return { root, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

async function fileSubjects(root: string): Promise<StatementSubject[]> {
  const rootFd = openDirectory(root);
  try {
    const subjects: StatementSubject[] = [];
    for (const { path, stat } of walkTree(rootFd, "", { xattrs: false })) {
      if (stat.type !== "file") continue;
      const fd = openInRoot(rootFd, path, { flags: openFlags.readOnly, symlinks: "refuse" });
      try {
        const hasher = new Bun.CryptoHasher("sha256");
        for await (const chunk of readDescriptor(fd, stat.size)) hasher.update(chunk);
        subjects.push({ name: path, digest: `sha256:${hasher.digest("hex")}` });
      } finally {
        closeFd(fd);
      }
    }
    return subjects;
  } finally {
    closeFd(rootFd);
  }
}

/** At the top of a tree that the build has written: what has the name already may be a link to anywhere. */
function writeFile(root: string, name: string, text: string): void {
  const rootFd = openDirectory(root);
  try {
    tryUnlinkAt(rootFd, name, { directory: false });
    const flags = openFlags.writeOnly | openFlags.create | openFlags.exclusive;
    const fd = openInRoot(rootFd, name, { flags, mode: 0o644, symlinks: "refuse" });
    try {
      const bytes = Buffer.from(text);
      for (let done = 0; done < bytes.length;) done += writeSync(fd, bytes, done);
    } finally {
      closeFd(fd);
    }
  } finally {
    closeFd(rootFd);
  }
}

async function imageOf({ images }: ExportServices, { imageId, config, layers }: Exported): Promise<string> {
  if (imageId !== undefined) return imageId;
  return (await images.create(Buffer.from(JSON.stringify(config)), { layers })).id;
}

function idOf({ config }: Exported): string {
  return `sha256:${new Bun.CryptoHasher("sha256").update(JSON.stringify(config)).digest("hex")}`;
}

function requireSink(sink: ExportSink | undefined): ExportSink {
  return sink ?? missing("a place for its archive");
}

function missing(what: string): never {
  throw new EngineError("internal", `An exporter was given no ${what}`);
}
