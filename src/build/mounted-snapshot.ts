import { newId } from "../common/index.ts";
import { mount, unmount } from "../kernel/index.ts";
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

  /** The layer of what was changed; undefined when nothing was. */
  async commit(): Promise<Layer | undefined> {
    this.#unmount();
    return this.snapshots.commit(this.key);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#unmount();
    await removeSnapshot(this.snapshots, this.key);
  }

  #unmount(): void {
    if (!this.#mounted) return;
    this.#mounted = false;
    unmount(this.root);
  }
}

/** Removes an active snapshot if it is still there: a commit takes it away. */
export async function removeSnapshot(snapshots: Snapshotter, key: string): Promise<void> {
  if (snapshots.keys().includes(key)) await snapshots.remove(key);
}
