import { existsSync, mkdirSync, readdirSync, renameSync } from "node:fs";
import { rm } from "node:fs/promises";
import { hostname as hostName } from "node:os";
import { dirname, join } from "node:path";
import { extractTree, packTree, statInRoot } from "../archive/index.ts";
import { EngineError, newId, shortId } from "../common/index.ts";
import type { ImageRecord } from "../image/index.ts";
import { parsePlatform } from "../registry/index.ts";
import type { ContainerConfig, ContainerCreateRequest } from "../spec/index.ts";
import { realiseMounts, wantedMounts } from "./container-mounts.ts";
import { newRunState, type ContainerMount, type ContainerRecord } from "./container-record.ts";
import { commandOf, completeHostConfig, mergeConfig, namePattern, validateRequest } from "./container-request.ts";
import { publishContainerEvent, type Core } from "./core.ts";
import { parseExtraHost } from "./host-files.ts";
import type { LiveContainer } from "./live-container.ts";
import { makeWorkingDirectory } from "./make-working-directory.ts";
import { withMountedSnapshot } from "./mounted-snapshot.ts";
import { generateName } from "./names.ts";

/** Names that a create in progress has taken and that no record holds yet. */
const reservedNames = new WeakMap<Core, Set<string>>();

/** Everything about a container that can be decided before anything is made. Throws what is wrong with the request. */
export function planContainer(
  core: Core,
  request: ContainerCreateRequest,
  image: ImageRecord,
): Omit<ContainerRecord, "name" | "mounts"> {
  validateRequest(request);
  const { HostConfig: hostRequest = {}, NetworkingConfig: networking, ...configRequest } = request;
  const config = mergeConfig(configRequest, image.config.config ?? {});
  const host = completeHostConfig(hostRequest ?? {}, {
    cgroupnsDefault: core.cgroups.support.version === "v2" ? "private" : "host",
  });
  for (const extra of host.ExtraHosts ?? []) parseExtraHost(extra);
  const id = newId();
  const { path, args } = commandOf(config);
  return {
    id,
    createdAt: new Date().toISOString(),
    imageId: image.id,
    config: {
      ...config,
      Hostname: hostnameOf(config, { id, networkMode: host.NetworkMode ?? "", utsMode: host.UTSMode ?? "" }),
    },
    host,
    endpoints: networking?.EndpointsConfig ?? {},
    path,
    args,
    state: newRunState(),
    network: undefined,
    restartCount: 0,
  };
}

function hostnameOf(
  config: ContainerConfig,
  { id, networkMode, utsMode }: { id: string; networkMode: string; utsMode: string },
): string {
  if (networkMode.startsWith("container:")) {
    if (config.Hostname) throw new EngineError("invalidArgument", "conflicting options: hostname and the network mode");
    return "";
  }
  if (utsMode === "host" && config.Hostname)
    throw new EngineError("invalidArgument", "conflicting options: hostname and the UTS mode");
  return config.Hostname || (networkMode === "host" ? hostName() : shortId(id));
}

/** The image, made first when it is one that the engine makes itself. */
export async function findImage(core: Core, reference: string): Promise<ImageRecord> {
  const found = core.images.find(reference);
  if (found) return found;
  if (await core.images.ensureEmbedded(reference)) return core.images.get(reference);
  return core.images.get(reference);
}

/** The image of `os/architecture[/variant]` among those that a name stands for. Throws notFound with Docker's words. */
export async function findImageFor(core: Core, reference: string, platform: string): Promise<ImageRecord> {
  await findImage(core, reference);
  return core.images.getFor(reference, parsePlatform(platform));
}

/** Makes the record, its snapshot and its volumes. Whatever fails, nothing is left. */
export async function createContainer(
  core: Core,
  request: ContainerCreateRequest,
  { name, platform }: { name?: string | undefined; platform?: string | undefined } = {},
): Promise<LiveContainer> {
  if (!request.Image) throw new EngineError("invalidArgument", "no image was named: a container is made from one");
  const image = platform ? await findImageFor(core, request.Image, platform) : await findImage(core, request.Image);
  const plan = planContainer(core, request, image);
  const wanted = wantedMounts(plan.config, plan.host);
  resolveNamespaceReferences(core, plan);
  await using undo = new AsyncDisposableStack();
  const reserved = reserveName(core, { name, id: plan.id });
  undo.defer(() => void reservedNames.get(core)?.delete(reserved));

  await using onFailure = new AsyncDisposableStack();
  onFailure.defer(() => core.volumes.abandon(plan.id));
  const { mounts, copyUps } = realiseMounts(wanted, { volumes: core.volumes, containerId: plan.id });
  await core.snapshots.prepare(plan.id, image.chainId, { hostFiles: true });
  onFailure.defer(() => core.snapshots.remove(plan.id));
  mkdirSync(core.paths.container(plan.id), { recursive: true, mode: 0o710 });
  onFailure.defer(() => discardContainerDirectory(core, plan.id));
  await settleFiles(core, { id: plan.id, workingDirectory: plan.config.WorkingDir ?? "", mounts, copyUps });

  const record: ContainerRecord = { ...plan, name: reserved, mounts };
  core.store.save(record);
  onFailure.move();
  const container = core.containers.add(record);
  publishContainerEvent(core, record, { action: "create" });
  return container;
}

/** `container:NAME` becomes `container:ID`, so that a later rename changes nothing. */
function resolveNamespaceReferences(core: Core, plan: { host: ContainerRecord["host"] }): void {
  for (const key of ["NetworkMode", "IpcMode", "PidMode"] as const) {
    const mode = plan.host[key];
    if (mode?.startsWith("container:"))
      plan.host[key] = `container:${core.store.get(mode.slice("container:".length)).id}`;
  }
}

function reserveName(core: Core, wanted: { name: string | undefined; id: string }): string {
  const reserved = reservedNames.get(core) ?? new Set<string>();
  reservedNames.set(core, reserved);
  const name = wanted.name?.replace(/^\//, "");
  const isTaken = (candidate: string): boolean =>
    reserved.has(candidate) || core.store.findByName(candidate) !== undefined;
  if (name !== undefined) checkName(core, name, isTaken);
  const chosen = name ?? generateName(isTaken);
  reserved.add(chosen);
  return chosen;
}

/** Throws when the name is malformed or taken. */
export function checkName(
  core: Core,
  name: string,
  isTaken = (candidate: string) => core.store.findByName(candidate) !== undefined,
): void {
  if (!namePattern.test(name)) {
    throw new EngineError(
      "invalidArgument",
      `Invalid container name (${name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed`,
    );
  }
  if (!isTaken(name)) return;
  const holder = core.store.findByName(name)?.id ?? "a container being created";
  throw new EngineError(
    "conflict",
    `Conflict. The container name "/${name}" is already in use by container "${holder}". You have to remove (or rename) that container to be able to reuse that name.`,
  );
}

/**
 * The working directory is made where the image lacks it, so that a commit has it. What the image holds at a new volume's mount point
 * goes into the volume, with owners, modes and attributes.
 */
async function settleFiles(
  core: Core,
  request: {
    id: string;
    workingDirectory: string;
    mounts: readonly ContainerMount[];
    copyUps: ReadonlySet<string>;
  },
): Promise<void> {
  const { workingDirectory } = request;
  const isGiven = workingDirectory !== "" && workingDirectory !== "/";
  const empty = request.mounts.filter(
    (mount) => request.copyUps.has(mount.Destination) && readdirSync(mount.Source).length === 0,
  );
  if (empty.length === 0 && !isGiven) return;
  await withMountedSnapshot(core, request.id, async (root) => {
    if (isGiven) makeWorkingDirectory(root, workingDirectory);
    for (const mount of empty) {
      if (!isDirectory(root, mount.Destination)) continue;
      const tar = packTree(root, mount.Destination, { name: "_data", followLink: true });
      await extractTree(tar, dirname(mount.Source), "/");
    }
  });
}

const goDirectoryBit = 0x8000_0000;

function isDirectory(root: string, path: string): boolean {
  try {
    return statInRoot(root, path).mode >= goDirectoryBit;
  } catch (error) {
    if (error instanceof EngineError && error.code === "notFound") return false;
    throw error;
  }
}

/** Out of sight at once, deleted in the background. */
export async function discardContainerDirectory(core: Core, id: string): Promise<void> {
  const directory = core.paths.container(id);
  if (!existsSync(directory)) return;
  mkdirSync(core.paths.trash, { recursive: true });
  const trash = join(core.paths.trash, `container-${newId().slice(0, 16)}`);
  renameSync(directory, trash);
  void rm(trash, { recursive: true, force: true }).catch((error: Error) =>
    core.options.log("warning", `Cannot delete "${trash}": ${error.message}`),
  );
}
