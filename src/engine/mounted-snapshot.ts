import { EngineError } from "../common/index.ts";
import { isMountPoint, mount, unmount } from "../kernel/index.ts";
import type { ContainerRecord } from "./container-record.ts";
import { shmDirectory } from "./container-spec.ts";
import type { Core } from "./core.ts";
import { Mutex } from "./mutex.ts";

/** A monitor unmounts right after it has told the exit; one that has not by then is stuck or gone. */
const undoPatienceMs = 5000;

/** Who has a snapshot mounted here, by its key; only while somebody has. */
const turns = new WeakMap<Core, Map<string, Mutex>>();

/** Mounts a snapshot that no monitor has mounted, for as long as the work takes. One at a time for a snapshot. */
export async function withMountedSnapshot<T>(core: Core, key: string, work: (root: string) => Promise<T>): Promise<T> {
  const mutexes = turns.get(core) ?? new Map<string, Mutex>();
  turns.set(core, mutexes);
  const turn = mutexes.get(key) ?? new Mutex();
  mutexes.set(key, turn);
  const working = turn.run(async () => {
    const mounts = core.snapshots.mounts(key);
    const mounted: string[] = [];
    try {
      for (const one of mounts) {
        mount(one);
        mounted.unshift(one.target);
      }
      return await work(core.snapshots.mergedDirectory(key));
    } finally {
      for (const target of mounted) unmount(target, { lazy: true });
    }
  });
  return working.finally(() => {
    if (turn.isIdle) mutexes.delete(key);
  });
}

/** Resolves when the daemon has that snapshot not mounted: two overlays on one upper directory would spoil it. */
export async function whenUnmounted(core: Core, key: string): Promise<void> {
  await turns
    .get(core)
    ?.get(key)
    ?.run(async () => {});
}

/**
 * Resolves when nothing of a container's run is mounted any more. A monitor that lives is left to undo its own mounts: were its path
 * mounted anew before that, it would undo the new mount. `monitorIsGone`: nobody else will, so it is done here.
 */
export async function unmountRun(
  core: Core,
  record: ContainerRecord,
  options: { monitorIsGone: boolean },
): Promise<void> {
  const targets = [...mergedDirectories(core, record.id), shmDirectory(core, record)];
  const deadline = Date.now() + (options.monitorIsGone ? 0 : undoPatienceMs);
  // Clients of `--rm` wait for this, and it is a matter of a few milliseconds.
  for (let waitMs = 1; targets.some(isMountPoint) && Date.now() < deadline; waitMs = Math.min(waitMs + 1, 10))
    await Bun.sleep(waitMs);
  for (const target of targets) if (isMountPoint(target)) unmount(target, { lazy: true });
}

/** None once a removal that was cut off has taken the snapshot away. */
function mergedDirectories(core: Core, key: string): string[] {
  try {
    return [core.snapshots.mergedDirectory(key)];
  } catch (error) {
    if (error instanceof EngineError && error.code === "notFound") return [];
    throw error;
  }
}
