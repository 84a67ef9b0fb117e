// The directories of vfs and btrfs. docs/flows/layers.md shows a tree.
import { chmodSync, existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isMountPoint, lstat, unmount } from "../kernel/index.ts";
import { treeName, type TreeStore } from "./tree-store.ts";
import type { Trash } from "./trash.ts";

export class TreeLayout {
  readonly #root: string;
  readonly #store: TreeStore;

  constructor(root: string, store: TreeStore) {
    this.#root = root;
    this.#store = store;
    mkdirSync(root, { recursive: true, mode: 0o710 });
    chmodSync(root, 0o710);
  }

  get root(): string {
    return this.#root;
  }
  directory(id: string): string {
    return join(this.#root, id);
  }
  tree(id: string): string {
    return join(this.#root, id, treeName);
  }
  merged(id: string): string {
    return join(this.#root, id, "merged");
  }

  /** Makes `<id>/` with a copy of another's tree or an empty one, and the stamp of that moment. */
  async create(id: string, options: { from: string | undefined; merged?: boolean }): Promise<void> {
    const directory = this.directory(id);
    mkdirSync(directory, { mode: 0o710 });
    if (options.merged === true) mkdirSync(this.merged(id), { mode: 0o700 });
    if (options.from === undefined) this.#store.create(directory);
    else await this.#store.copy(this.directory(options.from), directory);
    writeFileSync(join(directory, "stamp"), "");
  }

  /** A file whose change time is earlier has not been touched since the tree was copied. */
  stampNs(id: string): bigint {
    return lstat(join(this.directory(id), "stamp"))?.ctimeNs ?? 0n;
  }

  /** Moves `<id>/` to the trash; a leftover mount goes first. Idempotent. */
  discard(id: string, trash: Trash): void {
    const directory = this.directory(id);
    if (!existsSync(directory)) return;
    if (this.isMounted(id)) unmount(this.merged(id), { lazy: true });
    this.#store.release(directory);
    trash.add(directory);
  }

  isMounted(id: string): boolean {
    return isMountPoint(this.merged(id));
  }

  /** Discards every directory that is not among the known ids. */
  sweep(known: ReadonlySet<string>, trash: Trash): void {
    for (const name of readdirSync(this.#root)) if (!known.has(name)) this.discard(name, trash);
  }
}
