import { EngineError, toEngineError } from "../common/index.ts";
import { discardContainerDirectory } from "./container-creation.ts";
import { statusOf } from "./container-views.ts";
import { publishContainerEvent, type Core } from "./core.ts";
import type { LiveContainer } from "./live-container.ts";

/**
 * Removes a container that does not run. The caller holds its turn. The record goes first, what it named follows. Does nothing when it
 * is gone: `--rm` and a person may remove it at once, and the second finds what it wanted.
 */
export async function removeContainer(
  core: Core,
  container: LiveContainer,
  options: { force: boolean; volumes: boolean },
): Promise<void> {
  if (!core.containers.has(container)) return;
  const { record } = container;
  const status = statusOf(record);
  if (status === "running" || status === "paused" || status === "restarting") {
    const advice =
      status === "paused"
        ? "Unpause and then stop the container before attempting removal or force remove"
        : "Stop the container before attempting removal or force remove";
    throw new EngineError("conflict", `cannot remove container "/${record.name}": container is ${status}: ${advice}`, {
      data: { httpStatus: 409 },
    });
  }
  clearTimeout(container.restartTimer);
  record.state.phase = "removing";
  record.state.removingVolumes = options.volumes;
  core.store.save(record);
  await container.teardown;
  await giveUpStorage(core, container, options);
}

/** Also the way on for a removal that a crash cut short. */
export async function giveUpStorage(
  core: Core,
  container: LiveContainer,
  options: { volumes: boolean },
): Promise<void> {
  const { record } = container;
  const failures: string[] = [];
  const attempt = async (work: () => Promise<void>): Promise<void> => {
    await work().catch((error: unknown) => failures.push(toEngineError(error).message));
  };
  await attempt(() => core.snapshots.remove(record.id));
  await attempt(() => discardContainerDirectory(core, record.id));
  const anonymous = record.mounts.filter((mount) => mount.anonymous);
  if (!options.volumes) for (const mount of anonymous) core.volumes.disclaim(mount.Name ?? "");
  core.store.delete(record.id);
  core.containers.delete(record.id);
  if (options.volumes) {
    for (const mount of anonymous) {
      await attempt(async () => {
        if (usersOfVolume(core, mount.Name ?? "").length === 0)
          await core.volumes.remove(mount.Name ?? "", { force: true });
      });
    }
  }
  // An image may be removed while a container of it stays: its layers go with the last container.
  if (record.imageId !== "" && !core.images.find(record.imageId)) {
    void core.images.collect().catch((error: unknown) => core.options.log("warning", toEngineError(error).message));
  }
  for (const failure of failures) core.options.log("warning", `Removal of ${record.id}: ${failure}`);
  publishContainerEvent(core, record, { action: "destroy" });
  container.announceRemoval({ exitCode: record.state.exitCode });
}

export function usersOfVolume(core: Pick<Core, "store">, name: string): string[] {
  return core.store
    .all()
    .filter((record) => record.mounts.some((mount) => mount.Name === name))
    .map((record) => record.id);
}
