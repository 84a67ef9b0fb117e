import type { Database } from "bun:sqlite";
import { EngineError } from "../common/index.ts";
import type { ContainerRecord } from "./container-record.ts";

/** Containers' records: one row each, the name unique. The map is a cache of the table; every change is written at once. */
export class ContainerStore {
  readonly #records = new Map<string, ContainerRecord>();
  readonly #save: ReturnType<Database["prepare"]>;
  readonly #delete: ReturnType<Database["prepare"]>;

  constructor(database: Database) {
    database.exec(
      "CREATE TABLE IF NOT EXISTS containers (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, record TEXT NOT NULL) STRICT",
    );
    this.#save = database.prepare(
      "INSERT INTO containers (id, name, record) VALUES (?1, ?2, ?3) ON CONFLICT (id) DO UPDATE SET name = ?2, record = ?3",
    );
    this.#delete = database.prepare("DELETE FROM containers WHERE id = ?");
    for (const row of database.query<{ record: string }, []>("SELECT record FROM containers ORDER BY rowid").all()) {
      const record = JSON.parse(row.record) as ContainerRecord;
      this.#records.set(record.id, record);
    }
  }

  all(): ContainerRecord[] {
    return [...this.#records.values()];
  }

  save(record: ContainerRecord): void {
    this.#save.run(record.id, record.name, JSON.stringify(record));
    this.#records.set(record.id, record);
  }

  delete(id: string): void {
    this.#delete.run(id);
    this.#records.delete(id);
  }

  findByName(name: string): ContainerRecord | undefined {
    return this.all().find((record) => record.name === name);
  }

  /** By full id, then name, then unique id prefix, as Docker looks up. */
  get(idOrName: string): ContainerRecord {
    const name = idOrName.replace(/^\//, "");
    const exact = this.#records.get(name) ?? this.findByName(name);
    if (exact) return exact;
    const matches = /^[0-9a-f]{1,64}$/.test(name) ? this.all().filter((record) => record.id.startsWith(name)) : [];
    if (matches.length > 1) {
      throw new EngineError("invalidArgument", `multiple IDs found with provided prefix: ${name}`);
    }
    const [match] = matches;
    if (!match) throw new EngineError("notFound", `No such container: ${name}`);
    return match;
  }
}
