import { createHash } from "node:crypto";
import { posix } from "node:path";
import { decompress, extractTree, resolveInRoot } from "../archive/index.ts";
import { EngineError } from "../common/index.ts";
import { closeFd, openDirectory, openFlags, openInRoot, statFd } from "../kernel/index.ts";
import type { ImageRunConfig } from "../spec/index.ts";
import { archiveKind } from "./archive-kind.ts";
import { errorAt, type BuildEnvironment } from "./build-environment.ts";
import { FileCopier, isDirectoryInRoot, makeDirectories, type Owner } from "./copy-files.ts";
import { flagValue, type CopyInstruction, type Heredoc } from "./instruction.ts";
import { MountedSnapshot } from "./mounted-snapshot.ts";
import { parseMode, resolveOwner } from "./owner.ts";
import { shellOf } from "./run-config.ts";
import { digestOfSources, readDescriptor, SourceTree, type DigestMemory, type Source } from "./source-tree.ts";
import { commitStep, findCached, topLayer, withImage, type StageState } from "./stage-state.ts";
import type { StepEvent } from "./step-events.ts";
import type { CopyOrigin } from "./step-worker.ts";

interface Copy {
  readonly instruction: CopyInstruction;
  readonly tree: SourceTree;
  readonly sources: readonly Source[];
  /** Absolute; ends with a slash where the Dockerfile says so. */
  readonly destination: string;
}

/** Copies files of the context, of a stage or of an image. */
export async function* copyStep(
  environment: BuildEnvironment,
  instruction: CopyInstruction,
  { state, origin }: { state: StageState; origin: CopyOrigin },
): AsyncGenerator<StepEvent, StageState> {
  const { services, options } = environment;
  refuseUnbuilt(environment, instruction);
  await using opened = await openSources(environment, origin);
  const { tree } = opened;
  const sources = await resolveSources(instruction, tree, options.signal);
  const containerConfig = containerConfigOf(instruction, state, sources);
  const cached = options.noCache ? undefined : findCached(services, state, { containerConfig });
  if (cached) {
    yield { type: "cached" };
    return withImage(services, state, cached);
  }
  const destination = absoluteDestination(state.runConfig.WorkingDir, instruction.destination);
  await using snapshot = await MountedSnapshot.create(services.snapshots, topLayer(state));
  const keepOwner = origin !== undefined;
  await copyAll(environment, snapshot.root, { copy: { instruction, tree, sources, destination }, keepOwner });
  const layer = await snapshot.commit();
  return commitStep(services, state, { containerConfig, layer });
}

const unbuiltFlags = new Set(["link", "parents", "exclude", "checksum", "keep-git-dir"]);

function refuseUnbuilt(environment: BuildEnvironment, instruction: CopyInstruction): void {
  for (const flag of instruction.flags) {
    if (!unbuiltFlags.has(flag.name) || flag.value === "false") continue;
    const message = `${instruction.kind} --${flag.name} is not built yet`;
    throw errorAt(environment, flag, { code: "unsupported", message });
  }
  const remote = instruction.sources.find((source) => /^(https?|git|ssh):\/\/|^git@|^github\.com\//.test(source));
  if (remote === undefined) return;
  if (instruction.kind === "COPY") {
    throw new EngineError("invalidArgument", "COPY failed: source can't be a URL for COPY");
  }
  const message = `ADD of the remote source "${remote}" is not built yet: fetch it first and ADD the file`;
  throw errorAt(environment, instruction, { code: "unsupported", message });
}

interface OpenedSources extends AsyncDisposable {
  readonly tree: SourceTree;
}

/** The root that sources come from. Files of a stage or an image are mounted for as long as it is open. */
async function openSources(environment: BuildEnvironment, origin: CopyOrigin): Promise<OpenedSources> {
  if (!origin) {
    const tree = new SourceTree(environment.context.root, { isContext: true });
    return { tree, [Symbol.asyncDispose]: async () => tree[Symbol.dispose]() };
  }
  const { services } = environment;
  const { imageId, top } = await filesOf(environment, origin);
  services.hold.add(top);
  const snapshot = await MountedSnapshot.create(services.snapshots, top);
  try {
    const tree = new SourceTree(snapshot.root, { isContext: false, memory: memoryOf(environment, imageId) });
    const close = async (): Promise<void> => {
      tree[Symbol.dispose]();
      await snapshot[Symbol.asyncDispose]();
    };
    return { tree, [Symbol.asyncDispose]: close };
  } catch (error) {
    await snapshot[Symbol.asyncDispose]();
    throw error;
  }
}

async function filesOf(
  { executor }: BuildEnvironment,
  { origin, stage }: Exclude<CopyOrigin, undefined>,
): Promise<{ imageId: string; top: string | undefined }> {
  if (stage) return { imageId: stage.imageId, top: topLayer(stage) };
  if (origin.kind !== "image") throw new EngineError("internal", "COPY --from names no stage and no image");
  const image = await executor.resolveBase(origin.reference);
  return { imageId: image.id, top: image.chainId };
}

/** Digests of an image's files hold for as long as the image does. */
function memoryOf({ services }: BuildEnvironment, imageId: string): DigestMemory {
  if (imageId === "") return new Map<string, string>();
  return {
    get: (path) => services.cache.pathDigest(imageId, path),
    set: (path, digest) => services.cache.recordPathDigest(imageId, { path, digest }),
  };
}

async function resolveSources(
  instruction: CopyInstruction,
  tree: SourceTree,
  signal: AbortSignal | undefined,
): Promise<Source[]> {
  const { kind, files } = instruction;
  const sources: Source[] = [];
  try {
    for (const word of instruction.sources) sources.push(...(await tree.resolve(word, signal)));
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    throw new EngineError(error.code, `${kind} failed: ${error.message}`, { cause: error });
  }
  const count = sources.length + files.length;
  if (count === 0) throw new EngineError("invalidArgument", `${kind} failed: no source files were specified`);
  if (count > 1 && !instruction.destination.endsWith("/")) {
    throw new EngineError(
      "invalidArgument",
      `When using ${kind} with more than one source file, the destination must be a directory and end with a /`,
    );
  }
  return sources;
}

function containerConfigOf(
  instruction: CopyInstruction,
  { runConfig }: StageState,
  sources: readonly Source[],
): ImageRunConfig {
  const given = instruction.flags.filter(({ name }) => name === "chown" || name === "chmod" || name === "unpack");
  const flags = given.map(({ name, value }) => `--${name}=${value} `).join("");
  const digest = digestOfSources([...sources.map((source) => source.digest), ...instruction.files.map(digestOfText)]);
  const comment = `${instruction.kind} ${flags}${digest} in ${instruction.destination} `;
  return { ...runConfig, Cmd: [...shellOf(runConfig), `#(nop) ${comment}`] };
}

function digestOfText({ name, content }: Heredoc): string {
  return `file:${createHash("sha256")
    .update(JSON.stringify([name, content]))
    .digest("hex")}`;
}

function absoluteDestination(workingDirectory: string | undefined, requested: string): string {
  const path = posix.resolve("/", workingDirectory ?? "", requested);
  return requested.endsWith("/") && path !== "/" ? `${path}/` : path;
}

async function copyAll(
  { options }: BuildEnvironment,
  root: string,
  { copy, keepOwner }: { copy: Copy; keepOwner: boolean },
): Promise<void> {
  const { instruction, sources } = copy;
  const rootFd = openDirectory(root);
  try {
    const destination = followDestination(rootFd, copy.destination);
    const chown = flagValue(instruction, "chown");
    const chmod = flagValue(instruction, "chmod");
    const asked = chown === undefined || chown === "" ? undefined : await resolveOwner(rootFd, chown);
    const owner: Owner | undefined = asked ?? (keepOwner ? undefined : { uid: 0, gid: 0 });
    const mode = chmod === undefined ? undefined : parseMode(chmod);
    const copier = new FileCopier(rootFd, { owner, mode, signal: options.signal });
    for (const source of sources) await copySource(copier, source, { copy: { ...copy, destination }, root, asked });
    for (const file of instruction.files) {
      await copier.writeText(file.content, fileDestination(rootFd, destination, file.name));
    }
  } finally {
    closeFd(rootFd);
  }
}

async function copySource(
  copier: FileCopier,
  source: Source,
  { copy, root, asked }: { copy: Copy; root: string; asked: Owner | undefined },
): Promise<void> {
  const { instruction, tree, destination } = copy;
  const directory = source.type === "directory";
  const flags = directory ? openFlags.directory : openFlags.readOnly | openFlags.nonBlock;
  const fd = openInRoot(tree.rootFd, source.path, { flags });
  try {
    if (directory) return await copier.copyDirectory(fd, destination);
    const unpack = instruction.kind === "ADD" && flagValue(instruction, "unpack") !== "false";
    const kind = unpack ? await archiveKind(fd, source.path) : undefined;
    if (kind !== undefined) {
      closeFd(makeDirectories(copier.rootFd, destination, undefined));
      await extractTree(decompress(readDescriptor(fd)), root, destination, asked ? { chown: asked } : {});
      return;
    }
    const stat = statFd(fd);
    if (stat.type !== "file") {
      throw new EngineError(
        "invalidArgument",
        `${instruction.kind} failed: "${source.path}" is a ${stat.type}, not a file`,
      );
    }
    await copier.copyFile(fd, stat, fileDestination(copier.rootFd, destination, posix.basename(source.path)));
  } finally {
    closeFd(fd);
  }
}

/** The destination without symlinks, which lead inside the image only; what is missing is made later. */
function followDestination(rootFd: number, destination: string): string {
  const path = `/${resolveInRoot(rootFd, destination, { follow: true, allowMissing: true })}`;
  return destination.endsWith("/") && path !== "/" ? `${path}/` : path;
}

/** A file goes into a destination that is a directory or is written as one. */
function fileDestination(rootFd: number, destination: string, name: string): string {
  if (!destination.endsWith("/") && !isDirectoryInRoot(rootFd, destination)) return destination;
  return posix.join(destination, name);
}
