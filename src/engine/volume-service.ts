import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { lstat, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Database } from "bun:sqlite";
import { EngineError, newId, type Paths } from "../common/index.ts";
import { bootId } from "../kernel/index.ts";
import type { Volume } from "../spec/index.ts";
import type { Filters, VolumeService } from "./contract.ts";
import type { EventBus } from "./event-bus.ts";
import { requireKnownFilters } from "./known-filters.ts";
import { publishPrune } from "./prune-event.ts";

interface VolumeRow {
  name: string;
  created_at: string;
  labels: string;
  anonymous: number;
  /** `<boot id>/<container id>` of the create that made it; empty once it is nobody's or was made by itself. */
  claim: string;
}

const booleanValue = /^(0|1|t|f|true|false)$/i;
const namePattern = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}$/;

/** Named directories below `volumes/`; the row is written after the directory, and goes before it. */
export class LocalVolumes implements VolumeService {
  readonly #paths: Paths;
  readonly #database: Database;
  readonly #events: EventBus;
  /** Ids of the containers that mount a volume; asked of the containers, which alone know. */
  readonly #usersOf: (name: string) => string[];

  constructor(options: { paths: Paths; database: Database; events: EventBus; usersOf: (name: string) => string[] }) {
    this.#paths = options.paths;
    this.#database = options.database;
    this.#events = options.events;
    this.#usersOf = options.usersOf;
    mkdirSync(this.#paths.volumes, { recursive: true, mode: 0o701 });
    this.#database.exec(
      "CREATE TABLE IF NOT EXISTS volumes (name TEXT PRIMARY KEY, created_at TEXT NOT NULL, labels TEXT NOT NULL, anonymous INTEGER NOT NULL, claim TEXT NOT NULL) STRICT",
    );
  }

  directory(name: string): string {
    return join(this.#paths.volumes, name, "_data");
  }

  /** Names of all volumes. */
  names(): string[] {
    return this.#database
      .query<{ name: string }, []>("SELECT name FROM volumes ORDER BY name")
      .all()
      .map(({ name }) => name);
  }

  find(name: string): Volume | undefined {
    const row = this.#database.query<VolumeRow, [string]>("SELECT * FROM volumes WHERE name = ?").get(name);
    return row ? this.#toVolume(row) : undefined;
  }

  async list(filters: Filters): Promise<Volume[]> {
    requireKnownFilters(filters, ["name", "driver", "dangling", "label"], { dangling: booleanValue });
    const rows = this.#database.query<VolumeRow, []>("SELECT * FROM volumes ORDER BY name").all();
    return rows.filter((row) => this.#matches(row, filters)).map((row) => this.#toVolume(row));
  }

  async inspect(name: string): Promise<Volume> {
    const volume = this.find(name);
    if (!volume) throw new EngineError("notFound", `get ${name}: no such volume`);
    return volume;
  }

  async create(request: Parameters<VolumeService["create"]>[0]): Promise<Volume> {
    if (request.Driver && request.Driver !== "local") {
      throw new EngineError(
        "notFound",
        `error looking up volume plugin ${request.Driver}: plugin "${request.Driver}" not found`,
      );
    }
    if (Object.keys(request.DriverOpts ?? {}).length > 0) {
      throw new EngineError("unsupported", "Options of the local volume driver (-o) are not built yet");
    }
    return this.ensure(request.Name || newId(), { anonymous: !request.Name, labels: request.Labels ?? {} });
  }

  /** The volume of that name, made when missing. `madeFor`: the container whose creation, if it is cut off, it goes with. */
  ensure(name: string, options: { anonymous: boolean; labels?: Record<string, string>; madeFor?: string }): Volume {
    const present = this.find(name);
    if (present) return present;
    if (!namePattern.test(name)) {
      throw new EngineError(
        "invalidArgument",
        `"${name}" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path`,
      );
    }
    mkdirSync(this.directory(name), { recursive: true });
    const row: VolumeRow = {
      name,
      created_at: new Date().toISOString(),
      labels: JSON.stringify(options.labels ?? {}),
      anonymous: options.anonymous ? 1 : 0,
      claim: options.madeFor === undefined ? "" : `${bootId()}/${options.madeFor}`,
    };
    this.#database
      .query("INSERT INTO volumes (name, created_at, labels, anonymous, claim) VALUES (?, ?, ?, ?, ?)")
      .run(name, row.created_at, row.labels, row.anonymous, row.claim);
    this.#events.publish("volume", "create", { id: name, attributes: { driver: "local" } });
    return this.#toVolume(row);
  }

  async remove(name: string, options: { force: boolean }): Promise<void> {
    if (!this.find(name)) {
      if (options.force) return;
      throw new EngineError("notFound", `get ${name}: no such volume`);
    }
    const users = this.#usersOf(name);
    if (users.length > 0) throw new EngineError("conflict", `remove ${name}: volume is in use - [${users.join(", ")}]`);
    this.#database.query("DELETE FROM volumes WHERE name = ?").run(name);
    this.#discard(name);
    this.#events.publish("volume", "destroy", { id: name, attributes: { driver: "local" } });
  }

  async prune(filters: Filters): Promise<{ deleted: string[]; spaceReclaimed: number }> {
    requireKnownFilters(filters, ["all", "label"], { all: booleanValue });
    const labels = new Map([...filters].filter(([name]) => name === "label"));
    const all = filters.get("all")?.some((value) => value === "true" || value === "1") ?? false;
    const rows = this.#database.query<VolumeRow, []>("SELECT * FROM volumes").all();
    const deleted: string[] = [];
    let spaceReclaimed = 0;
    for (const row of rows) {
      if ((!all && row.anonymous === 0) || this.#usersOf(row.name).length > 0) continue;
      if (!this.#matches(row, labels)) continue;
      spaceReclaimed += await directorySize(this.directory(row.name));
      await this.remove(row.name, { force: true });
      deleted.push(row.name);
    }
    publishPrune({ events: this.#events }, "volume", spaceReclaimed);
    return { deleted, spaceReclaimed };
  }

  /** A container goes and its anonymous volume stays: from here on it is kept until a person removes it. */
  disclaim(name: string): void {
    this.#database.query("UPDATE volumes SET claim = '' WHERE name = ?").run(name);
  }

  /** A create failed: what was made for it goes. */
  async abandon(containerId: string): Promise<void> {
    const claim = `${bootId()}/${containerId}`;
    const rows = this.#database.query<VolumeRow, [string]>("SELECT * FROM volumes WHERE claim = ?").all(claim);
    for (const row of rows) await this.remove(row.name, { force: true });
  }

  /**
   * What a crash left: volumes made for a container that never came to be, and directories that no row names. A claim of an earlier
   * boot proves nothing, since a power cut can lose the container's record and keep the volume's.
   */
  async sweep(isContainer: (id: string) => boolean): Promise<void> {
    const prefix = `${bootId()}/`;
    for (const row of this.#database.query<VolumeRow, []>("SELECT * FROM volumes WHERE claim <> ''").all()) {
      const abandoned = row.claim.startsWith(prefix) && !isContainer(row.claim.slice(prefix.length));
      if (abandoned && this.#usersOf(row.name).length === 0) await this.remove(row.name, { force: true });
    }
    for (const name of await readdir(this.#paths.volumes)) {
      if (!this.find(name)) this.#discard(name);
    }
  }

  async usage(name: string): Promise<{ Size: number; RefCount: number }> {
    return { Size: await directorySize(this.directory(name)), RefCount: this.#usersOf(name).length };
  }

  #discard(name: string): void {
    const directory = join(this.#paths.volumes, name);
    if (!existsSync(directory)) return;
    mkdirSync(this.#paths.trash, { recursive: true });
    const trash = join(this.#paths.trash, `volume-${newId().slice(0, 16)}`);
    try {
      renameSync(directory, trash);
    } catch {
      // Another file system is mounted below volumes/: deleted in place.
      rmSync(directory, { recursive: true, force: true });
      return;
    }
    void rm(trash, { recursive: true, force: true }).catch(() => {});
  }

  #matches(row: VolumeRow, filters: Filters): boolean {
    for (const [filter, values] of filters) {
      if (!values.some((value) => this.#matchesOne(row, filter, value))) return false;
    }
    return true;
  }

  #matchesOne(row: VolumeRow, filter: string, value: string): boolean {
    switch (filter) {
      case "name":
        return row.name.includes(value);
      case "driver":
        return value === "local";
      case "dangling":
        return (this.#usersOf(row.name).length === 0) === (value === "true" || value === "1");
      case "label": {
        const labels = JSON.parse(row.labels) as Record<string, string>;
        const [key = "", wanted] = value.split(/=(.*)/s);
        return key in labels && (wanted === undefined || labels[key] === wanted);
      }
      default:
        throw new EngineError("invalidArgument", `invalid filter '${filter}'`);
    }
  }

  #toVolume(row: VolumeRow): Volume {
    const labels = JSON.parse(row.labels) as Record<string, string>;
    return {
      CreatedAt: row.created_at,
      Driver: "local",
      Labels: Object.keys(labels).length > 0 ? labels : null,
      Mountpoint: this.directory(row.name),
      Name: row.name,
      Options: null,
      Scope: "local",
    };
  }
}

/** Bytes of all files below, without following links. */
export async function directorySize(directory: string): Promise<number> {
  let total = 0;
  for (const entry of await readdir(directory, { withFileTypes: true }).catch(() => [])) {
    const path = join(directory, entry.name);
    total += entry.isDirectory() ? await directorySize(path) : (await lstat(path).catch(() => ({ size: 0 }))).size;
  }
  return total;
}
