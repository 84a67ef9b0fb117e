import { Database } from "bun:sqlite";
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Paths } from "../../src/common/index.ts";
import { openSnapshotter, type StorageDriver } from "../../src/snapshot/index.ts";
import { newScratch } from "./scratch.ts";

export interface SnapshotPlace extends AsyncDisposable {
  readonly paths: Paths;
  readonly db: Database;
  readonly snapshots: ReturnType<typeof openSnapshotter>;
  /** Another start of the engine on the same root. */
  restart(): ReturnType<typeof openSnapshotter>;
}

/** A root of its own for one storage driver; `folder`: where to make it, so that it is on that file system. */
export function newSnapshotPlace(driver: StorageDriver | undefined, folder?: string): SnapshotPlace {
  const scratch = newScratch();
  const root = folder === undefined ? join(scratch.path, "root") : join(folder, crypto.randomUUID());
  const paths = new Paths(root, join(scratch.path, "run"));
  mkdirSync(paths.root);
  const db = new Database(paths.database);
  // As the engine opens it.
  db.run("PRAGMA journal_mode = WAL");
  db.run("PRAGMA synchronous = NORMAL");
  db.run("PRAGMA foreign_keys = ON");
  const runState = new Database(paths.database);
  const restart = () => openSnapshotter({ paths, db, runState, ...(driver ? { driver } : {}) });
  const open = (): ReturnType<typeof openSnapshotter> => {
    try {
      return restart();
    } catch (error) {
      // What is refused leaves nothing, either.
      db.close();
      runState.close();
      for (const path of [root, scratch.path]) rmSync(path, { recursive: true, force: true });
      throw error;
    }
  };
  const snapshots = open();
  return {
    paths,
    db,
    snapshots,
    restart,
    async [Symbol.asyncDispose]() {
      await snapshots.settled();
      db.close();
      runState.close();
      await scratch[Symbol.asyncDispose]();
    },
  };
}
