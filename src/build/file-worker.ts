// A file operation: COPY, ADD, WORKDIR, heredocs.
import { createHash } from "node:crypto";
import { decompress, extractTree, joinPath, resolveInRoot, splitPath } from "../archive/index.ts";
import { EngineError } from "../common/index.ts";
import { closeFd, openDirectory, openFlags, openInRoot, statFd } from "../kernel/index.ts";
import { createIgnoreRules, type IgnoreRules } from "../spec/index.ts";
import { archiveKind } from "./archive-kind.ts";
import { clampTimes } from "./clamp-times.ts";
import { FileCopier, isDirectoryInRoot, makeDirectories, type Owner } from "./copy-files.ts";
import { parentsDestination, wayComponents, waysOf } from "./copy-parents.ts";
import { LinkedFiles } from "./linked-files.ts";
import { parseModeChange } from "./mode-change.ts";
import { MountedSnapshot } from "./mounted-snapshot.ts";
import type { CopyAction, FileAction, FileOperation, MakeFileAction } from "./operation.ts";
import { resolveOwner } from "./owner.ts";
import type { InputTree, RemoteTree } from "./input-trees.ts";
import { hasWildcards, readDescriptor, relativePath, type Source, type SourceTree } from "./source-tree.ts";
import type { Component, WorkContext, Made } from "./work-context.ts";

/** What a copy takes: its sources, and where they are when it comes to copying. */
export interface ResolvedCopy {
  readonly sources: () => Promise<{ tree: SourceTree; sources: readonly Source[] }>;
}

/** What a key is made of, and what people want to know of it beside that. */
export interface FileKey {
  readonly components: readonly Component[];
  /** Single files of folders. */
  readonly details: readonly Component[];
  readonly copies: ReadonlyMap<CopyAction, ResolvedCopy>;
  readonly digests: readonly string[];
}

/** What an operation's key is made of: digests of the files it takes, never their times. */
export async function fileKey(
  context: WorkContext,
  operation: FileOperation,
  base: string | undefined,
): Promise<FileKey> {
  const components: Component[] = [["base", base ?? "scratch"]];
  const details: Component[] = [];
  const copies = new Map<CopyAction, ResolvedCopy>();
  const digests: string[] = [];
  for (const action of operation.actions) {
    components.push(["instruction", JSON.stringify({ ...action, input: undefined })]);
    if (action.type === "makeFile") digests.push(digestOfText(action));
    if (action.type !== "copy") continue;
    const resolved = await inWords(action, () => resolveCopy(context, operation, action));
    copies.set(action, resolved);
    for (const { path, digest, entries = [] } of resolved.found) {
      components.push([digest.startsWith("dir:") ? `folder ${path}` : `file ${path}`, digest]);
      digests.push(digest);
      for (const [entry, value] of entries) details.push([`file ${entry}`, value]);
    }
    components.push(...(resolved.ways ?? []));
  }
  return { components, details, copies, digests };
}

type Found = ResolvedCopy & {
  readonly found: readonly Pick<Source, "path" | "digest" | "entries">[];
  readonly ways?: readonly Component[];
};

async function resolveCopy(context: WorkContext, operation: FileOperation, action: CopyAction): Promise<Found> {
  const { trees, solver, signal } = context;
  const exclude = action.exclude.length > 0 ? createIgnoreRules(action.exclude) : undefined;
  const resolveIn = async (tree: SourceTree): Promise<Source[]> => {
    const sources: Source[] = [];
    for (const word of action.sources) sources.push(...(await tree.resolve(word, { signal, exclude })));
    return sources;
  };
  const id = operation.inputs[action.input];
  const node = id === undefined ? undefined : solver.node(id);
  const remote = node && ["local", "http", "git"].includes(node.operation.kind);
  if (node && remote) {
    // Told as a vertex of its own, once.
    const tree: RemoteTree = await trees.remote(node);
    if (tree.digest !== undefined) {
      const sources = async (): Promise<{ tree: SourceTree; sources: Source[] }> => {
        await solver.solve(node.id);
        const opened = await tree.open();
        return { tree: opened.tree, sources: await resolveIn(opened.tree) };
      };
      return { sources, found: [{ path: nameOf(node.operation), digest: tree.digest }] };
    }
    await solver.solve(node.id);
    const opened = await tree.open();
    const sources = checked(action, await resolveIn(opened.tree));
    return foundIn(action, opened.tree, sources);
  }
  const top = id === undefined ? undefined : (await solver.solve(id)).top;
  const known = exclude || action.parents ? undefined : knownSources(context, action, top);
  const open = async (): Promise<{ tree: SourceTree; sources: Source[] }> => {
    const { tree }: InputTree = await trees.layers(top);
    return { tree, sources: checked(action, await resolveIn(tree)) };
  };
  if (known) return { sources: open, found: known };
  const { tree, sources } = await open();
  return foundIn(action, tree, sources);
}

function foundIn(action: CopyAction, tree: SourceTree, sources: Source[]): Found {
  const ways = action.parents ? wayComponents(action, sources, tree) : [];
  return { sources: async () => ({ tree, sources }), found: sources, ways };
}

function nameOf(operation: { kind: string; url?: string }): string {
  return operation.url ?? operation.kind;
}

function knownSources(
  { trees }: WorkContext,
  action: CopyAction,
  top: string | undefined,
): { path: string; digest: string }[] | undefined {
  const found: { path: string; digest: string }[] = [];
  for (const word of action.sources) {
    const path = relativePath(word);
    const digest = hasWildcards(path) ? undefined : trees.knownDigest(top, path);
    if (digest === undefined) return undefined;
    found.push({ path, digest });
  }
  return found;
}

function checked(action: CopyAction, sources: Source[]): Source[] {
  const { instruction, destination } = action;
  if (sources.length === 0) {
    const words = action.sources.join(" ");
    throw new EngineError("invalidArgument", `no source files were specified: nothing matches "${words}"`);
  }
  if (sources.length > 1 && !destination.endsWith("/") && !action.parents && destination !== "/") {
    throw new EngineError(
      "invalidArgument",
      `When using ${instruction} with more than one source file, the destination must be a directory and end with a /`,
    );
  }
  return sources;
}

/** Docker's words before what is wrong with a source. */
async function inWords<Result>({ instruction }: CopyAction, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof EngineError) || error.code === "cancelled") throw error;
    if (error.message.startsWith("When using ")) throw error;
    throw new EngineError(error.code, `${instruction} failed: ${error.message}`, { cause: error });
  }
}

function digestOfText({ name, content }: MakeFileAction): string {
  return `file:${createHash("sha256")
    .update(JSON.stringify([name, content]))
    .digest("hex")}`;
}

/** Does the actions on a mounted snapshot and makes a layer of what they changed. */
export async function runFile(
  context: WorkContext,
  work: { operation: FileOperation; base: string | undefined; copies: ReadonlyMap<CopyAction, ResolvedCopy> },
): Promise<Made> {
  const { snapshots, epoch } = context;
  const { base, operation } = work;
  await using snapshot = await MountedSnapshot.create(snapshots, base);
  const rootFd = openDirectory(snapshot.root);
  const diff = snapshots.diffDirectory(snapshot.key);
  const linked = operation.actions.length === 1 ? new LinkedFiles(diff) : undefined;
  try {
    for (const action of operation.actions) {
      await doAction(context, action, { root: snapshot.root, rootFd, copies: work.copies, linked });
    }
  } finally {
    closeFd(rootFd);
  }
  if (linked) {
    await snapshot.unmount();
    await linked.link();
  }
  if (epoch !== undefined) clampTimes(diff, epoch);
  const layer = await snapshot.commit();
  return { top: layer?.chainId ?? base, containerId: "" };
}

interface Target {
  readonly root: string;
  readonly rootFd: number;
  readonly copies: ReadonlyMap<CopyAction, ResolvedCopy>;
  /** Undefined where a later action may meet what an earlier one copied. */
  readonly linked: LinkedFiles | undefined;
}

async function doAction({ signal }: WorkContext, action: FileAction, target: Target): Promise<void> {
  const { rootFd } = target;
  if (action.type === "makeDirectory") return closeFd(makeDirectories(rootFd, action.path, undefined));
  const asked = action.owner === undefined ? undefined : await resolveOwner(rootFd, action.owner);
  const mode = action.mode === undefined ? undefined : parseModeChange(action.mode);
  const destination = followDestination(rootFd, action.destination);
  if (action.type === "makeFile") {
    const copier = new FileCopier(rootFd, { owner: asked ?? { uid: 0, gid: 0 }, mode, signal });
    return copier.writeText(action.content, fileDestination(rootFd, destination, action.name));
  }
  const owner: Owner | undefined = asked ?? (action.keepOwner ? undefined : { uid: 0, gid: 0 });
  const exclude: IgnoreRules | undefined = action.exclude.length > 0 ? createIgnoreRules(action.exclude) : undefined;
  const options = { owner, mode, signal, exclude };
  const resolved = await target.copies.get(action)?.sources();
  if (!resolved) throw new EngineError("internal", "A copy has no sources");
  const linked = linkable(action, resolved) ? target.linked : undefined;
  const copier = new FileCopier(rootFd, { ...options, linked });
  for (const source of resolved.sources) {
    await copySource(copier, source, { action, tree: resolved.tree, root: target.root, destination });
    linked?.endSource(resolved.tree.rootFd, source.path, options);
  }
}

/** One folder's files meet nothing else that is copied, so that it does not matter when they come. */
function linkable({ parents, exclude }: CopyAction, { tree, sources }: Awaited<ReturnType<ResolvedCopy["sources"]>>) {
  return tree.isOwn && !parents && exclude.length === 0 && sources.length === 1 && sources[0]?.type === "directory";
}

interface SourceCopy {
  readonly action: CopyAction;
  readonly tree: SourceTree;
  readonly root: string;
  readonly destination: string;
}

async function copySource(copier: FileCopier, source: Source, copy: SourceCopy): Promise<void> {
  const { action, tree, root } = copy;
  const directory = source.type === "directory";
  const flags = directory ? openFlags.directory : openFlags.readOnly | openFlags.nonBlock;
  const fd = openInRoot(tree.rootFd, source.path, { flags });
  const destination = action.parents ? parentsDestination(action, source, copy.destination) : copy.destination;
  try {
    if (action.parents) {
      copier.makeDirectory(copy.destination);
      for (const { kept, stat } of waysOf(action, source, tree)) {
        copier.makeDirectory(joinPath(copy.destination.replace(/\/+$/, ""), kept), stat);
      }
    }
    if (directory) return await copier.copyDirectory(fd, destination);
    const kind = action.unpack ? await archiveKind(fd, source.path) : undefined;
    if (kind !== undefined) {
      closeFd(makeDirectories(copier.rootFd, destination, undefined));
      // Its files keep the archive's owners, whatever --chown says, as with Docker and BuildKit.
      await extractTree(decompress(readDescriptor(fd)), root, destination);
      return;
    }
    const stat = statFd(fd);
    if (stat.type !== "file") {
      const message = `${action.instruction} failed: "${source.path}" is a ${stat.type}, not a file`;
      throw new EngineError("invalidArgument", message);
    }
    await copier.copyFile(fd, stat, fileDestination(copier.rootFd, destination, splitPath(source.path).base));
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
  return `${destination.replace(/\/+$/, "")}/${name}`;
}
