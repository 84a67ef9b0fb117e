import { closeSync, constants, existsSync, mkdirSync, openSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { extractTree, packTree, resolveInRoot, statInRoot } from "../archive/index.ts";
import { EngineError } from "../common/index.ts";
import { closeFd, isAlive, mount, openDirectory, unmount } from "../kernel/index.ts";
import { identityOf, type ContainerMount, type ContainerRecord } from "./container-record.ts";
import type { PathStat } from "./contract.ts";
import { publishContainerEvent, type Core } from "./core.ts";
import type { LiveContainer } from "./live-container.ts";
import { withMountedSnapshot } from "./mounted-snapshot.ts";

/** A folder of the host, and the path in it that stands for a path in the container. */
interface Located {
  readonly root: string;
  readonly path: string;
}

export async function statContainerPath(core: Core, container: LiveContainer, path: string): Promise<PathStat> {
  return withFiles(core, container, { path, write: false }, async (located) => statInRoot(located.root, located.path));
}

/** A tar of one file or tree, whose first entry has the path's last name. The root stays mounted until the stream has ended. */
export async function readContainerArchive(
  core: Core,
  container: LiveContainer,
  path: string,
): Promise<{ stat: PathStat; tar: AsyncIterable<Uint8Array> }> {
  const stat = await statContainerPath(core, container, path);
  publishContainerEvent(core, container.record, { action: "archive-path" });
  return {
    stat,
    tar: streamWhile(
      (work) => withFiles(core, container, { path, write: false }, work),
      (located) => packTree(located.root, located.path),
    ),
  };
}

/** The container's whole file system without its volumes, as `docker export` has it. */
export function exportContainer(core: Core, container: LiveContainer): AsyncIterable<Uint8Array> {
  const mounted = async (work: (located: Located) => Promise<void>): Promise<void> => {
    const path = "/";
    if (isMounted(container)) await work({ root: core.snapshots.mergedDirectory(container.record.id), path });
    else await withMountedSnapshot(core, container.record.id, (root) => work({ root, path }));
  };
  publishContainerEvent(core, container.record, { action: "export" });
  return streamWhile(mounted, (located) => packTree(located.root, "/", { name: "" }));
}

export async function writeContainerArchive(
  core: Core,
  container: LiveContainer,
  request: { path: string; tar: AsyncIterable<Uint8Array>; noOverwriteDirNonDir: boolean; copyUidGid: boolean },
): Promise<void> {
  const { path, tar, noOverwriteDirNonDir } = request;
  await withFiles(core, container, { path, write: true }, async (located) => {
    const named = statInRoot(located.root, located.path);
    const { mode } = named.linkTarget === "" ? named : statInRoot(located.root, named.linkTarget);
    if (mode < goDirectoryBit)
      throw new EngineError("invalidArgument", `extraction point is not a directory: "${path}"`);
    // `copyUidGid` is about owners that the client packed: they are kept as they are in the tar either way, as dockerd does for root.
    await extractTree(tar, located.root, located.path, { noOverwriteDirNonDir });
  });
  publishContainerEvent(core, container.record, { action: "extract-to-dir" });
}

const goDirectoryBit = 0x8000_0000;

function isMounted({ record }: LiveContainer): boolean {
  return record.state.phase === "running";
}

/**
 * A running container's files are seen as it sees them, through /proc/PID/root with its volumes; a stopped one's by mounting its
 * layers, and its volumes into them.
 */
async function withFiles<T>(
  core: Core,
  container: LiveContainer,
  request: { path: string; write: boolean },
  work: (located: Located) => Promise<T>,
): Promise<T> {
  const { record } = container;
  const inDockersWords = (error: unknown): never => {
    if (!(error instanceof EngineError) || error.code !== "notFound") throw error;
    const message = `Could not find the file ${request.path} in container ${record.name}`;
    throw new EngineError("notFound", message, { cause: error });
  };
  return locate(core, container, request, work).catch(inDockersWords);
}

async function locate<T>(
  core: Core,
  container: LiveContainer,
  request: { path: string; write: boolean },
  work: (located: Located) => Promise<T>,
): Promise<T> {
  const { record } = container;
  const path = `/${request.path.replace(/^\/+/, "")}`;
  const covering = coveringMount(record.mounts, path);
  if (request.write && (covering ? !covering.RW : record.host.ReadonlyRootfs)) {
    throw new EngineError(
      "invalidArgument",
      covering ? "mounted volume is marked read-only" : "container rootfs is marked read-only",
    );
  }
  if (isMounted(container)) return withRunningRoot(record, (root) => work({ root, path }));
  return withMountedSnapshot(core, record.id, (root) =>
    withVolumes(record.mounts, root, async () => {
      // Lexically it lies in no volume; a symlink may still lead into one.
      const reached = coveringMount(record.mounts, resolvedPath(root, path));
      if (request.write && reached && !reached.RW)
        throw new EngineError("invalidArgument", "mounted volume is marked read-only");
      return work({ root, path });
    }),
  );
}

/** Binds a stopped container's volumes into its root, without what is mounted below them, for as long as the work takes. */
async function withVolumes<T>(mounts: readonly ContainerMount[], root: string, work: () => Promise<T>): Promise<T> {
  const bound: string[] = [];
  try {
    for (const { Type, Source, Destination } of mounts.toSorted(byDepth)) {
      const target = join(root, resolvedPath(root, Destination));
      const source = statSync(Source, { throwIfNoEntry: false });
      if (Type === "tmpfs" || !source) continue;
      // A container that never started has no mount points yet: dockerd makes them now, too.
      if (!existsSync(target)) makeMountPoint(target, source.isDirectory());
      mount({ type: "bind", source: Source, target, options: ["bind"] });
      bound.unshift(target);
    }
    return await work();
  } finally {
    for (const target of bound) unmount(target, { lazy: true });
  }
}

function makeMountPoint(target: string, isDirectory: boolean): void {
  mkdirSync(isDirectory ? target : dirname(target), { recursive: true });
  if (!isDirectory) writeFileSync(target, "", { flag: "a" });
}

function byDepth(left: ContainerMount, right: ContainerMount): number {
  return left.Destination.length - right.Destination.length;
}

/** Absolute in the root, without symlinks as far as the path exists. */
function resolvedPath(root: string, path: string): string {
  const rootFd = openDirectory(root);
  try {
    return `/${resolveInRoot(rootFd, path, { follow: true, allowMissing: true })}`;
  } finally {
    closeFd(rootFd);
  }
}

/** The root of a running container, held by descriptor: the process number may be another's before the work is done. */
async function withRunningRoot<T>(record: ContainerRecord, work: (root: string) => Promise<T>): Promise<T> {
  const gone = (cause?: unknown): EngineError =>
    new EngineError(
      "conflict",
      `Container ${record.id} has just ended: try again`,
      cause === undefined ? {} : { cause },
    );
  let descriptor: number;
  try {
    descriptor = openSync(`/proc/${record.state.pid}/root`, constants.O_RDONLY | constants.O_DIRECTORY);
  } catch (error) {
    throw gone(error);
  }
  try {
    if (!isAlive(identityOf(record))) throw gone();
    return await work(`/proc/self/fd/${descriptor}`);
  } finally {
    closeSync(descriptor);
  }
}

/** The mount that a path lies in, the deepest when several do. */
function coveringMount(mounts: readonly ContainerMount[], path: string): ContainerMount | undefined {
  return mounts
    .filter((mount) => path === mount.Destination || path.startsWith(`${mount.Destination}/`))
    .sort((left, right) => right.Destination.length - left.Destination.length)[0];
}

/** Turns "do this while it is mounted" into a stream: the mount lasts until the reader is done or gone. */
async function* streamWhile(
  mounted: (work: (located: Located) => Promise<void>) => Promise<void>,
  open: (located: Located) => AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const begun = Promise.withResolvers<AsyncIterable<Uint8Array>>();
  const ended = Promise.withResolvers<void>();
  const mounting = mounted(async (located) => {
    begun.resolve(open(located));
    await ended.promise;
  });
  mounting.catch((error: unknown) => begun.reject(error));
  try {
    yield* await begun.promise;
  } finally {
    ended.resolve();
    await mounting;
  }
}
