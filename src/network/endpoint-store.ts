import type { Database } from "bun:sqlite";
import { newId } from "../common/index.ts";
import type { EndpointSettings, PortBinding } from "../spec/index.ts";
import type { PublishedPort } from "./published-ports.ts";

/** A container's attachment as the database keeps it, from before the first change to the kernel until after the last undo. */
export interface EndpointRecord {
  readonly containerId: string;
  readonly containerName: string;
  readonly networkName: string;
  /** Path of its network namespace; absent: the host's. */
  readonly namespacePath: string | undefined;
  readonly settings: EndpointSettings | undefined;
  /** Near end of its veth pair; absent without one. */
  readonly link: string | undefined;
  readonly published: readonly PublishedPort[];
  readonly ports: Readonly<Record<string, PortBinding[] | null>>;
  readonly hosts: readonly { readonly address: string; readonly name: string }[];
}

export interface NetworkRecord {
  readonly id: string;
  readonly name: string;
  /** `bridge`, `host` or `null`. */
  readonly driver: string;
  readonly created: string;
  /** Of the bridge network, once it was started: what it got from what it asked. */
  readonly bridge?: string;
  readonly table?: string;
  readonly subnet?: string;
}

const schema = `
  CREATE TABLE IF NOT EXISTS networks (name TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS endpoints (
    container TEXT PRIMARY KEY, network TEXT NOT NULL, address TEXT, record TEXT NOT NULL, UNIQUE (network, address)
  ) STRICT;`;

const predefined = [
  ["bridge", "bridge"],
  ["host", "host"],
  ["none", "null"],
] as const;

/** Networks and endpoints in the engine's database. Each call is one statement or one transaction. */
export class EndpointStore {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
    db.run(schema);
    for (const [name, driver] of predefined) {
      if (!this.network(name)) this.saveNetwork({ id: newId(), name, driver, created: new Date().toISOString() });
    }
  }

  network(name: string): NetworkRecord | undefined {
    const row = this.#db.query<{ record: string }, [string]>("SELECT record FROM networks WHERE name = ?").get(name);
    return row ? (JSON.parse(row.record) as NetworkRecord) : undefined;
  }

  networks(): NetworkRecord[] {
    const rows = this.#db.query<{ record: string }, []>("SELECT record FROM networks ORDER BY name").all();
    return rows.map((row) => JSON.parse(row.record) as NetworkRecord);
  }

  saveNetwork(record: NetworkRecord): void {
    const statement = "INSERT INTO networks VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET record = excluded.record";
    this.#db.query(statement).run(record.name, JSON.stringify(record));
  }

  /** Addresses that the network's endpoints have. */
  addresses(network: string): Set<string> {
    const statement = "SELECT address FROM endpoints WHERE network = ? AND address IS NOT NULL";
    const rows = this.#db.query<{ address: string }, [string]>(statement).all(network);
    return new Set(rows.map((row) => row.address));
  }

  find(containerId: string): EndpointRecord | undefined {
    const statement = "SELECT record FROM endpoints WHERE container = ?";
    const row = this.#db.query<{ record: string }, [string]>(statement).get(containerId);
    return row ? (JSON.parse(row.record) as EndpointRecord) : undefined;
  }

  all(): EndpointRecord[] {
    const rows = this.#db.query<{ record: string }, []>("SELECT record FROM endpoints ORDER BY container").all();
    return rows.map((row) => JSON.parse(row.record) as EndpointRecord);
  }

  /** The address is unique on its network: two endpoints can never have one. */
  insert(record: EndpointRecord): void {
    const address = record.settings?.IPAddress || null;
    const statement = "INSERT INTO endpoints VALUES (?, ?, ?, ?)";
    this.#db.query(statement).run(record.containerId, record.networkName, address, JSON.stringify(record));
  }

  delete(containerId: string): void {
    this.#db.query("DELETE FROM endpoints WHERE container = ?").run(containerId);
  }
}
