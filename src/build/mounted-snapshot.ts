import { newId } from "../common/index.ts";
import { SystemError, errnoNumber, mount, unmount } from "../kernel/index.ts";
import type { Layer, Snapshotter } from "../snapshot/index.ts";

/**
 * An active snapshot that is mounted on the host for as long as the engine itself writes into it or reads from it. Disposal
 * unmounts and removes it; `commit` makes a layer of it instead.
 */
export class MountedSnapshot implements AsyncDisposable {
  readonly root: string;
  #mounted = true;

  private constructor(
    readonly snapshots: Snapshotter,
    readonly key: string,
  ) {
    this.root = snapshots.mergedDirectory(key);
  }

  static async create(snapshots: Snapshotter, parent: string | undefined): Promise<MountedSnapshot> {
    const key = newId();
    await snapshots.prepare(key, parent, { hostFiles: false });
    try {
      for (const request of snapshots.mounts(key)) mount(request);
    } catch (error) {
      await removeSnapshot(snapshots, key);
      throw error;
    }
    return new MountedSnapshot(snapshots, key);
  }

  /** The layer of what was changed, which may not be on disk yet; undefined when nothing was. */
  async commit(): Promise<Layer | undefined> {
    await this.unmount();
    return this.snapshots.commit(this.key, { lasting: false });
  }

  /** Nothing shows at `root` any more, and the diff directory is free to write to. */
  async unmount(): Promise<void> {
    if (!this.#mounted) return;
    await unmountWhenFree(this.root);
    this.#mounted = false;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#mounted) unmount(this.root, { lazy: true });
    this.#mounted = false;
    await removeSnapshot(this.snapshots, this.key);
  }
}

const patienceMs = 5000;

/**
 * A program that the engine starts elsewhere holds copies of its descriptors for the moment between fork and the end of exec,
 * and a file of this mount may be among them: busy then means soon.
 */
async function unmountWhenFree(target: string): Promise<void> {
  const deadline = performance.now() + patienceMs;
  for (let pauseMs = 1; ; pauseMs = Math.min(2 * pauseMs, 50)) {
    try {
      return unmount(target);
    } catch (error) {
      const busy = error instanceof SystemError && error.errno === errnoNumber("EBUSY");
      if (!busy || performance.now() > deadline) throw error;
    }
    await Bun.sleep(pauseMs);
  }
}

/** Removes an active snapshot if it is still there: a commit takes it away. */
export async function removeSnapshot(snapshots: Snapshotter, key: string): Promise<void> {
  if (snapshots.keys().includes(key)) await snapshots.remove(key);
}
