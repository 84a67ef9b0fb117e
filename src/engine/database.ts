import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { Database } from "bun:sqlite";

/** Two connections to one file: what must survive a power cut is written through `durable`, run state through `runState`. */
export interface EngineDatabase extends Disposable {
  readonly durable: Database;
  readonly runState: Database;
}

/** Another process (a second engine by mistake, a person's sqlite3) is waited for this long. */
const busyTimeoutMs = 5000;

export function openDatabase(path: string): EngineDatabase {
  mkdirSync(dirname(path), { recursive: true, mode: 0o710 });
  const durable = open(path, "FULL");
  const runState = open(path, "NORMAL");
  return {
    durable,
    runState,
    [Symbol.dispose]() {
      runState.close();
      durable.close();
    },
  };
}

function open(path: string, synchronous: "FULL" | "NORMAL"): Database {
  const database = new Database(path, { create: true, strict: true });
  database.exec(`PRAGMA busy_timeout = ${busyTimeoutMs}`);
  database.exec("PRAGMA journal_mode = WAL");
  database.exec(`PRAGMA synchronous = ${synchronous}`);
  return database;
}
