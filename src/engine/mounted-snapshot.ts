import { mount, unmount } from "../kernel/index.ts";
import type { Core } from "./core.ts";
import { Mutex } from "./mutex.ts";

const turns = new WeakMap<Core, Map<string, Mutex>>();

/** Mounts a snapshot that no monitor has mounted, for as long as the work takes. One at a time for a snapshot. */
export async function withMountedSnapshot<T>(core: Core, key: string, work: (root: string) => Promise<T>): Promise<T> {
  return turnOf(core, key).run(async () => {
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
}

/** Resolves when the daemon has that snapshot not mounted: two overlays on one upper directory would spoil it. */
export function whenUnmounted(core: Core, key: string): Promise<void> {
  return turnOf(core, key).run(async () => {});
}

function turnOf(core: Core, key: string): Mutex {
  const mutexes = turns.get(core) ?? new Map<string, Mutex>();
  turns.set(core, mutexes);
  const mutex = mutexes.get(key) ?? new Mutex();
  mutexes.set(key, mutex);
  return mutex;
}
