import type { Database } from "bun:sqlite";
import { createHash } from "node:crypto";
import type { BuildRequest, StepReason } from "./build-request.ts";
import type { LoadedDockerfile } from "./load-dockerfile.ts";
import type { StepOutcome } from "./walk-stages.ts";
import type { Component } from "./work-context.ts";

/** Things that one step's key was made of and that are remembered; a folder of more files is told by its own digest. */
const maxComponents = 2000;
/** Dockerfiles and images of which the last build is remembered. */
const maxRemembered = 500;

interface Done {
  readonly loaded: LoadedDockerfile;
  readonly outcomes: readonly StepOutcome[];
}

/**
 * What the keys of each Dockerfile's last build were made of, so that the next one can say why a step runs; and for each image why
 * its steps ran.
 */
export class WhyStore {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
    db.run(`CREATE TABLE IF NOT EXISTS build_last_steps (
      dockerfile TEXT NOT NULL, step INTEGER NOT NULL, title TEXT NOT NULL, components TEXT NOT NULL, at_ms INTEGER NOT NULL,
      PRIMARY KEY (dockerfile, step)) WITHOUT ROWID`);
    db.run(`CREATE TABLE IF NOT EXISTS build_reports (
      image_id TEXT PRIMARY KEY, reasons TEXT NOT NULL, at_ms INTEGER NOT NULL) WITHOUT ROWID`);
  }

  /** For each step whether it was cached, and for one that was not what is new since the last build of the same Dockerfile. */
  compare(request: BuildRequest, { loaded, outcomes }: Done): StepReason[] {
    const rows = this.#db
      .query<{ step: number; title: string; components: string }, [string]>(
        "SELECT step, title, components FROM build_last_steps WHERE dockerfile = ? ORDER BY step",
      )
      .all(identityOf(request, loaded));
    const titles = new Map(rows.map((row) => [row.title, row]));
    return outcomes.map(({ number, title, cached, components }) => {
      const before = titles.get(title) ?? rows.find(({ step }) => step === number);
      const known = before === undefined ? undefined : (JSON.parse(before.components) as Component[]);
      return { step: number, title, cached, changed: cached ? [] : changes(known, components) };
    });
  }

  /** Remembers a build that succeeded. */
  record(
    request: BuildRequest,
    { loaded, outcomes, imageId, reasons }: Done & { imageId: string | undefined; reasons: readonly StepReason[] },
  ): void {
    const dockerfile = identityOf(request, loaded);
    const now = Date.now();
    this.#db.transaction(() => {
      this.#db.run("DELETE FROM build_last_steps WHERE dockerfile = ?", [dockerfile]);
      const insert = this.#db.query("INSERT OR REPLACE INTO build_last_steps VALUES (?, ?, ?, ?, ?)");
      for (const { number, title, components } of outcomes) {
        const kept = components.slice(0, maxComponents);
        insert.run(dockerfile, number, title, JSON.stringify(kept), now);
      }
      if (imageId !== undefined)
        this.#db.run("INSERT OR REPLACE INTO build_reports VALUES (?, ?, ?)", [imageId, JSON.stringify(reasons), now]);
      const trim = (table: string, id: string): string =>
        `DELETE FROM ${table} WHERE ${id} NOT IN (SELECT ${id} FROM ${table} GROUP BY ${id} ORDER BY max(at_ms) DESC LIMIT ?)`;
      this.#db.run(trim("build_last_steps", "dockerfile"), [maxRemembered]);
      this.#db.run(trim("build_reports", "image_id"), [maxRemembered]);
    })();
  }

  /** Of the build that ended in an image; undefined for one that was not built here, or long ago. */
  reasonsOf(imageId: string): StepReason[] | undefined {
    const row = this.#db
      .query<{ reasons: string }, [string]>("SELECT reasons FROM build_reports WHERE image_id = ?")
      .get(imageId);
    return row ? (JSON.parse(row.reasons) as StepReason[]) : undefined;
  }
}

/** Two builds are of the same Dockerfile when name, target and tags are; without tags, when their first line is. */
function identityOf({ frontend, tags }: BuildRequest, { name, text }: LoadedDockerfile): string {
  const first = text.split("\n").find((line) => /^\s*FROM\s/i.test(line)) ?? "";
  const said = [
    name,
    frontend.target ?? "",
    ...(frontend.ofSeveral ? [frontend.platform] : []),
    tags.length > 0 ? tags.toSorted() : first,
  ];
  return createHash("sha256").update(JSON.stringify(said)).digest("hex");
}

/** Sentences of what differs; none where nothing is known of an earlier build. */
function changes(before: readonly Component[] | undefined, now: readonly Component[]): string[] {
  if (before === undefined) return ["this step was not part of the last build"];
  const old = new Map(before);
  const fresh = new Map(now.slice(0, maxComponents));
  settleFolders(old, fresh);
  const sentences: string[] = [];
  for (const [name, value] of fresh) {
    const was = old.get(name);
    if (was === value) continue;
    if (name === "base")
      sentences.push(`an earlier step or the base image gave other files (${short(was)} → ${short(value)})`);
    else if (was === undefined) sentences.push(`${name} is new`);
    else sentences.push(`${name} changed (${short(was)} → ${short(value)})`);
  }
  for (const name of old.keys()) if (!fresh.has(name)) sentences.push(`${name} is gone`);
  return sentences.length > 0 ? sentences : ["the cache no longer has it, or was not to be used"];
}

/** A folder is told by its files where both builds looked at them, else by itself: a digest that was remembered comes without them. */
function settleFolders(old: Map<string, string>, fresh: Map<string, string>): void {
  for (const folder of [...fresh.keys()].filter((name) => name.startsWith("folder "))) {
    const file = folder.replace("folder ", "file ");
    const isInside = (name: string): boolean =>
      file === "file ." ? name.startsWith("file ") : name === file || name.startsWith(`${file}/`);
    const both = [old, fresh].map((components) => [...components.keys()].filter(isInside));
    const byFiles = old.get(folder) !== fresh.get(folder) && both.every((files) => files.length > 0);
    for (const components of [old, fresh]) {
      if (byFiles) components.delete(folder);
      else for (const name of both.flat()) components.delete(name);
    }
  }
}

const shownLength = 60;

function short(value: string | undefined): string {
  if (value === undefined) return "nothing";
  const hex = /^((?:sha256|file|dir):)?([0-9a-f]{12})[0-9a-f]{52}$/.exec(value);
  if (hex) return `${hex[1] ?? ""}${hex[2]}`;
  return value.length > shownLength ? `${value.slice(0, shownLength)}…` : value;
}
