import type { Database } from "bun:sqlite";
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { treeSize } from "../archive/index.ts";
import { newId, type Paths } from "../common/index.ts";
import type { Trash } from "../snapshot/index.ts";
import { cancelled } from "./cancelled.ts";
import type { CacheMount } from "./run-mounts.ts";

/** A cache mount's folder that is on disk. */
export interface CacheFolder {
  readonly folder: string;
  readonly id: string;
  readonly sizeBytes: number;
  readonly createdMs: number;
  readonly usedMs: number;
  readonly uses: number;
  readonly inUse: boolean;
}

interface Row {
  readonly folder: string;
  readonly id: string;
  readonly size_bytes: number;
  readonly created_ms: number;
  readonly used_ms: number;
  readonly uses: number;
}

/** Who wants a folder, and how it begins. */
export interface CacheRequest {
  readonly mount: Pick<CacheMount, "id" | "sharing" | "mode" | "uid" | "gid">;
  /** Part of the name where the mount begins with files of another. */
  readonly seed: string;
  readonly signal: AbortSignal;
  /** Fills a new folder. */
  readonly fill: (folder: string) => Promise<void>;
}

/**
 * The folders of `RUN --mount=type=cache`, which outlive their builds. `shared` gives every writer the same folder, `locked` one
 * after the other, `private` another folder to whoever comes while all are taken.
 */
export class CacheMounts {
  readonly #db: Database;
  readonly #root: string;
  readonly #trash: Trash;
  readonly #users = new Map<string, number>();
  readonly #lines = new Map<string, Promise<void>>();
  readonly #fresh = new Set<string>();
  readonly #filling = new Map<string, Promise<void>>();

  constructor(options: { db: Database; paths: Paths; trash: Trash }) {
    this.#db = options.db;
    this.#root = join(options.paths.root, "build", "mounts");
    this.#trash = options.trash;
    this.#db.run(`CREATE TABLE IF NOT EXISTS build_mounts (
      folder TEXT PRIMARY KEY, id TEXT NOT NULL, size_bytes INTEGER NOT NULL, created_ms INTEGER NOT NULL,
      used_ms INTEGER NOT NULL, uses INTEGER NOT NULL) WITHOUT ROWID`);
    mkdirSync(this.#root, { recursive: true, mode: 0o700 });
    // What a killed engine made and did not record.
    const known = new Set(this.list().map(({ folder }) => folder));
    for (const name of readdirSync(this.#root)) if (!known.has(name)) this.#discard(name);
  }

  /** A folder to mount; dispose it when the command has ended. */
  async take(request: CacheRequest): Promise<AsyncDisposable & { readonly path: string }> {
    const { mount, seed, signal } = request;
    const id = seed === "" ? mount.id : `${mount.id} of ${seed}`;
    const unlock = mount.sharing === "locked" ? await this.#lock(id, signal) : () => {};
    try {
      const folder = this.#choose(id, mount.sharing);
      this.#users.set(folder, (this.#users.get(folder) ?? 0) + 1);
      try {
        await this.#make(folder, id, request);
      } catch (error) {
        this.#leave(folder);
        throw error;
      }
      const release = async (): Promise<void> => {
        this.#leave(folder);
        unlock();
        await this.#measure(folder);
      };
      return { path: join(this.#root, folder), [Symbol.asyncDispose]: release };
    } catch (error) {
      unlock();
      throw error;
    }
  }

  list(): CacheFolder[] {
    const rows = this.#db.query<Row, []>("SELECT * FROM build_mounts").all();
    return rows.map(({ size_bytes, created_ms, used_ms, ...row }) => ({
      ...row,
      sizeBytes: size_bytes,
      createdMs: created_ms,
      usedMs: used_ms,
      inUse: (this.#users.get(row.folder) ?? 0) > 0,
    }));
  }

  /** Forgets a folder that nobody uses; false when somebody does. */
  remove(folder: string): boolean {
    if ((this.#users.get(folder) ?? 0) > 0) return false;
    this.#db.query("DELETE FROM build_mounts WHERE folder = ?").run(folder);
    this.#discard(folder);
    return true;
  }

  #choose(id: string, sharing: CacheMount["sharing"]): string {
    const folders = this.#db
      .query<{ folder: string }, [string]>("SELECT folder FROM build_mounts WHERE id = ? ORDER BY created_ms, folder")
      .all(id)
      .map(({ folder }) => folder)
      .filter((folder) => existsSync(join(this.#root, folder)));
    const free = sharing === "private" ? folders.find((one) => !this.#users.get(one)) : folders[0];
    if (free !== undefined) return free;
    const folder = newId().slice(0, 24);
    const now = Date.now();
    this.#db.query("INSERT INTO build_mounts VALUES (?, ?, 0, ?, ?, 0)").run(folder, id, now, now);
    mkdirSync(join(this.#root, folder), { mode: 0o700 });
    this.#fresh.add(folder);
    return folder;
  }

  async #make(folder: string, id: string, { mount, fill }: CacheRequest): Promise<void> {
    if (this.#fresh.delete(folder)) {
      const path = join(this.#root, folder);
      const filling = fill(path).then(() => {
        chownSync(path, mount.uid, mount.gid);
        chmodSync(path, mount.mode);
      });
      this.#filling.set(folder, filling);
    }
    // Whoever comes meanwhile waits for what it begins with.
    await this.#filling.get(folder);
    this.#filling.delete(folder);
    this.#db
      .query("UPDATE build_mounts SET used_ms = ?, uses = uses + 1 WHERE folder = ? AND id = ?")
      .run(Date.now(), folder, id);
  }

  #leave(folder: string): void {
    this.#users.set(folder, (this.#users.get(folder) ?? 1) - 1);
    if (this.#users.get(folder) === 0) this.#users.delete(folder);
  }

  async #measure(folder: string): Promise<void> {
    const path = join(this.#root, folder);
    if (!existsSync(path)) return;
    // Another command may be writing into a shared folder: then its end measures it.
    const sizeBytes = await treeSize(path).catch(() => undefined);
    if (sizeBytes === undefined) return;
    this.#db.query("UPDATE build_mounts SET size_bytes = ? WHERE folder = ?").run(sizeBytes, folder);
  }

  /** Resolves when it is this one's turn, with what ends the turn. */
  async #lock(id: string, signal: AbortSignal): Promise<() => void> {
    const before = this.#lines.get(id) ?? Promise.resolve();
    let unlock = (): void => {};
    const mine = new Promise<void>((resolve) => (unlock = resolve));
    this.#lines.set(
      id,
      before.then(() => mine),
    );
    const aborted = new Promise<never>((_, reject) => {
      signal.addEventListener("abort", () => reject(cancelled()), { once: true });
    });
    try {
      await Promise.race([before, aborted]);
      return unlock;
    } catch (error) {
      unlock();
      throw error;
    }
  }

  #discard(folder: string): void {
    this.#trash.add(join(this.#root, folder));
  }
}
