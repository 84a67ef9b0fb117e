import { EngineError } from "../common/index.ts";
import { applyConfigChanges, encodeChildConfig, parseTag, type ImageRecord } from "../image/index.ts";
import { familiarString, parseReference, type ContainerConfig } from "../spec/index.ts";
import type { ContainerRecord } from "./container-record.ts";
import { mergeConfig } from "./container-request.ts";
import { statusOf } from "./container-views.ts";
import type { CommitOptions } from "./contract.ts";
import { cgroupPathOf, publishContainerEvent, type Core } from "./core.ts";
import type { LiveContainer } from "./live-container.ts";

/**
 * An image of the container's image and what the container changed: its read-write layer becomes a layer, neither the init layer nor
 * what lies in a mount does. What is wrong with changes and name is said before anything is made. Answers the image's id.
 */
export async function commitContainer(core: Core, container: LiveContainer, options: CommitOptions): Promise<string> {
  return container.changes.run(async () => {
    const { record } = container;
    refuseEnding(core, container);
    const target = options.reference === undefined ? undefined : parseTag(options.reference);
    const parent = core.images.get(record.imageId);
    const config = committedConfig(record, options);
    const image = await whileFrozen(core, container, {
      wanted: options.pause,
      work: () => makeImage(core, { record, parent, config, options }),
    });
    const imageRef = target ? familiarString(parseReference(`${target.repository}:${target.tag}`)) : "";
    if (imageRef !== "") core.events.publish("image", "tag", { id: image.id, attributes: { name: imageRef } });
    const attributes = { comment: options.comment, imageID: image.id, imageRef };
    publishContainerEvent(core, record, { action: "commit", attributes });
    return image.id;
  });
}

/** Containers that a commit froze, and whose daemon was killed before it thawed them, go on. */
export async function thawInterruptedCommits(core: Core): Promise<void> {
  for (const container of core.containers.all()) {
    if (container.record.state.frozenToCommit) await thaw(core, container);
  }
}

function refuseEnding(core: Core, container: LiveContainer): void {
  const { record } = container;
  if (!core.containers.has(container)) throw new EngineError("notFound", `No such container: ${record.id}`);
  const status = statusOf(record);
  if (status === "dead") throw new EngineError("conflict", `You cannot commit container ${record.id} which is Dead`);
  if (status === "removing")
    throw new EngineError("conflict", `You cannot commit container ${record.id} which is being removed`);
}

/** The container's config, or the one given, with the changes; what both leave open is the container's again. */
function committedConfig(record: ContainerRecord, options: CommitOptions): ContainerConfig {
  const changed: ContainerConfig = applyConfigChanges(options.config ?? record.config, options.changes);
  return mergeConfig(changed, record.config);
}

async function makeImage(
  core: Core,
  request: { record: ContainerRecord; parent: ImageRecord; config: ContainerConfig; options: CommitOptions },
): Promise<ImageRecord> {
  const { record, parent, config, options } = request;
  using hold = core.images.hold("commit");
  hold.add(parent.chainId);
  const layer = await core.snapshots.commitCopy(record.id);
  hold.add(layer?.chainId);
  const bytes = encodeChildConfig(parent.config, {
    created: new Date().toISOString(),
    author: options.author,
    comment: options.comment,
    containerId: record.id,
    containerConfig: record.config,
    config,
    diffId: layer?.diffId,
  });
  const below = parent.layers.map(({ chainId }) => chainId);
  return core.images.create(bytes, {
    layers: layer ? [...below, layer.chainId] : below,
    parent: parent.id,
    ...(options.reference === undefined ? {} : { reference: options.reference }),
  });
}

/**
 * Does the work while none of the container's processes runs, so that no file changes under it. The record says so before the kernel
 * does: the next daemon thaws what this one could not.
 */
async function whileFrozen<T>(
  core: Core,
  container: LiveContainer,
  { wanted, work }: { wanted: boolean; work: () => Promise<T> },
): Promise<T> {
  const { record } = container;
  if (!wanted || record.state.phase !== "running" || record.state.paused) return work();
  record.state.frozenToCommit = true;
  record.state.paused = true;
  core.store.save(record);
  try {
    await core.cgroups.freeze(cgroupPathOf(core, record));
    publishContainerEvent(core, record, { action: "pause" });
    const made = await work();
    await thaw(core, container);
    return made;
  } catch (error) {
    // What went wrong comes first: a full disk takes no record either, and the next daemon thaws what the old one calls frozen.
    await thaw(core, container).catch(() => {});
    throw error;
  }
}

/** A kill has thawed it already, or it is no more. */
async function thaw(core: Core, container: LiveContainer): Promise<void> {
  const { record } = container;
  const isFrozen = record.state.phase === "running" && record.state.paused;
  if (isFrozen) await core.cgroups.thaw(cgroupPathOf(core, record));
  if (isFrozen) record.state.paused = false;
  delete record.state.frozenToCommit;
  if (isFrozen) publishContainerEvent(core, record, { action: "unpause" });
  if (core.containers.has(container)) core.store.save(record);
}
