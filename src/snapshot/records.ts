import type { Database } from "bun:sqlite";
import { bootId } from "../kernel/index.ts";
import type { Layer } from "./snapshotter.ts";

interface LayerRow {
  chain_id: string;
  diff_id: string;
  parent: string | null;
  directory_id: string;
  size: number;
  created_at: string;
}

/** An active snapshot. `init`: whether it has an init layer. */
export interface SnapshotRecord {
  readonly key: string;
  readonly parent: string | undefined;
  readonly init: boolean;
}

interface SnapshotRow {
  key: string;
  parent: string | null;
  init: number;
}

/** The tables of this room. A directory that no record names is rubbish. */
export class SnapshotRecords {
  readonly #db: Database;
  readonly #runState: Database;

  /** `runState`: another connection to the same file, which need not wait for the disk; a snapshot is as lasting as its container. */
  constructor(db: Database, runState: Database) {
    this.#db = db;
    this.#runState = runState;
    db.run(
      `CREATE TABLE IF NOT EXISTS layers (
         chain_id TEXT PRIMARY KEY, diff_id TEXT NOT NULL, parent TEXT REFERENCES layers (chain_id),
         directory_id TEXT NOT NULL UNIQUE, size INTEGER NOT NULL, created_at TEXT NOT NULL
       ) STRICT`,
    );
    db.run("CREATE INDEX IF NOT EXISTS layers_parent ON layers (parent)");
    db.run(
      `CREATE TABLE IF NOT EXISTS snapshots (
         key TEXT PRIMARY KEY, parent TEXT REFERENCES layers (chain_id), init INTEGER NOT NULL, created_at TEXT NOT NULL
       ) STRICT`,
    );
    db.run(
      `CREATE TABLE IF NOT EXISTS unsynced_layers (chain_id TEXT PRIMARY KEY, boot_id TEXT NOT NULL) STRICT, WITHOUT ROWID`,
    );
    this.#dropUnsynced();
  }

  /** What stood on the disk's promise when the machine went down: those layers, and all that stands on them. */
  #dropUnsynced(): void {
    const lost = `WITH RECURSIVE lost (chain_id) AS (
      SELECT chain_id FROM unsynced_layers WHERE boot_id <> ?
      UNION SELECT layers.chain_id FROM layers JOIN lost ON layers.parent = lost.chain_id
    )`;
    this.#db.transaction(() => {
      this.#db.run(`${lost} DELETE FROM snapshots WHERE parent IN lost`, [bootId()]);
      this.#db.run(`${lost} DELETE FROM layers WHERE chain_id IN lost`, [bootId()]);
      this.#db.run("DELETE FROM unsynced_layers WHERE boot_id <> ?", [bootId()]);
    })();
  }

  /** Layers whose files may not be on disk yet. */
  unsynced(): string[] {
    const rows = this.#db.query<{ chain_id: string }, []>("SELECT chain_id FROM unsynced_layers").all();
    return rows.map((row) => row.chain_id);
  }

  /** Their files are on disk. */
  synced(chainIds: readonly string[]): void {
    this.#runState.transaction(() => {
      for (const id of chainIds) this.#runState.run("DELETE FROM unsynced_layers WHERE chain_id = ?", [id]);
    })();
  }

  layer(chainId: string): Layer | undefined {
    const row = this.#db.query<LayerRow, [string]>("SELECT * FROM layers WHERE chain_id = ?").get(chainId);
    return row ? toLayer(row) : undefined;
  }

  layers(): Layer[] {
    return this.#db.query<LayerRow, []>("SELECT * FROM layers ORDER BY created_at, chain_id").all().map(toLayer);
  }

  /** Top first; empty for an unknown chainID. */
  chain(chainId: string): Layer[] {
    return this.#db
      .query<LayerRow, [string]>(
        `WITH RECURSIVE below (chain_id, depth) AS (
           SELECT ?, 0 UNION ALL
           SELECT layers.parent, depth + 1 FROM layers JOIN below USING (chain_id) WHERE layers.parent IS NOT NULL
         ) SELECT layers.* FROM below JOIN layers USING (chain_id) ORDER BY depth`,
      )
      .all(chainId)
      .map(toLayer);
  }

  /**
   * Adds a layer; with `instead` the snapshot it was made of goes in the same transaction. A power cut may take it back, until a record that
   * names it is written through the connection that waits for the disk: then this one is on it, too. `unsynced`: its files may not be.
   */
  addLayer(layer: Layer, { instead, unsynced = false }: { instead?: string | undefined; unsynced?: boolean }): void {
    this.#runState.transaction(() => {
      this.#runState.run("INSERT INTO layers VALUES (?, ?, ?, ?, ?, ?)", [
        layer.chainId,
        layer.diffId,
        layer.parent ?? null,
        layer.directoryId,
        layer.sizeBytes,
        layer.createdAt,
      ]);
      if (instead !== undefined) deleteSnapshot(this.#runState, instead);
      if (unsynced)
        this.#runState.run("INSERT OR REPLACE INTO unsynced_layers VALUES (?, ?)", [layer.chainId, bootId()]);
    })();
  }

  removeLayer(chainId: string): void {
    this.#db.transaction(() => {
      this.#db.run("DELETE FROM layers WHERE chain_id = ?", [chainId]);
      this.#db.run("DELETE FROM unsynced_layers WHERE chain_id = ?", [chainId]);
    })();
  }

  /** A layer or snapshot that stands on this layer, for an error message. */
  dependant(chainId: string): string | undefined {
    const child = this.#db
      .query<{ name: string }, [string, string]>(
        `SELECT 'layer ' || chain_id AS name FROM layers WHERE parent = ?
         UNION ALL SELECT 'snapshot ' || key FROM snapshots WHERE parent = ? LIMIT 1`,
      )
      .get(chainId, chainId);
    return child?.name;
  }

  snapshot(key: string): SnapshotRecord | undefined {
    const row = this.#db.query<SnapshotRow, [string]>("SELECT key, parent, init FROM snapshots WHERE key = ?").get(key);
    return row ? toSnapshot(row) : undefined;
  }

  snapshots(): SnapshotRecord[] {
    return this.#db
      .query<SnapshotRow, []>("SELECT key, parent, init FROM snapshots ORDER BY key")
      .all()
      .map(toSnapshot);
  }

  addSnapshot(record: SnapshotRecord): void {
    this.#runState.run("INSERT INTO snapshots VALUES (?, ?, ?, ?)", [
      record.key,
      record.parent ?? null,
      record.init ? 1 : 0,
      new Date().toISOString(),
    ]);
  }

  removeSnapshot(key: string): void {
    deleteSnapshot(this.#runState, key);
  }
}

/** Names of the directories that a root's records have, also before the tables of this room are made. */
export function recordedDirectories(db: Database): string[] {
  const table = db.query("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'snapshots'").get();
  if (table === null) return [];
  const rows = db.query<{ name: string }, []>(
    "SELECT directory_id AS name FROM layers UNION ALL SELECT key FROM snapshots",
  );
  return rows.all().map(({ name }) => name);
}

/** In a transaction only on its own connection: another one would wait for its end. */
function deleteSnapshot(db: Database, key: string): void {
  db.run("DELETE FROM snapshots WHERE key = ?", [key]);
}

function toLayer(row: LayerRow): Layer {
  return {
    chainId: row.chain_id,
    diffId: row.diff_id,
    parent: row.parent ?? undefined,
    directoryId: row.directory_id,
    sizeBytes: row.size,
    createdAt: row.created_at,
  };
}

function toSnapshot(row: SnapshotRow): SnapshotRecord {
  return { key: row.key, parent: row.parent ?? undefined, init: row.init !== 0 };
}
