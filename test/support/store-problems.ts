// Whether an engine's store is sound, looked at with nothing of the engine's own code: its database, its folders, and sums over files.
import { Database } from "bun:sqlite";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, readdirSync, readlinkSync, statSync } from "node:fs";
import { join } from "node:path";

type Rows = Record<string, Set<string>>;

/**
 * What is wrong with the store of an engine that may be running, as sorted sentences; empty is sound. Wrong is what a record names
 * and is not there or other bytes, and what is there and no record names or needs. `resumable`: what a pull received in part may wait.
 */
export function storeProblems(root: string, options: { resumable?: boolean } = {}): string[] {
  const db = new Database(join(root, "engine.db"), { readonly: true });
  try {
    const has = new Set(column(db, "SELECT name FROM sqlite_master WHERE type = 'table'"));
    const rows: Rows = {
      layers: new Set(column(db, "SELECT chain_id FROM layers")),
      images: new Set(column(db, "SELECT id FROM images")),
      blobs: new Set(column(db, "SELECT digest FROM blobs")),
    };
    return [
      ...directoryProblems(db, root),
      ...layerProblems(db, rows, has),
      ...blobProblems(db, root, rows),
      ...imageProblems(db, rows),
      ...emptyProblems(root, options.resumable === true ? ["trash"] : ["trash", "content/incoming"]),
    ].sort();
  } finally {
    db.close();
  }
}

function column(db: Database, query: string): string[] {
  return db
    .query<Record<string, string>, []>(query)
    .all()
    .map((row) => String(Object.values(row)[0]));
}

const overlayDrivers = ["overlay2", "fuse-overlayfs"];
const drivers = [...overlayDrivers, "vfs", "btrfs"];

function directoryProblems(db: Database, root: string): string[] {
  const snapshots = db.query<{ key: string; init: number }, []>("SELECT key, init FROM snapshots").all();
  const known = new Set([
    ...column(db, "SELECT directory_id FROM layers"),
    ...snapshots.flatMap(({ key, init }) => (init === 0 ? [key] : [key, `${key}-init`])),
  ]);
  return drivers
    .filter((driver) => existsSync(join(root, driver)))
    .flatMap((driver) => {
      const folder = join(root, driver);
      const more = readdirSync(folder).filter((name) => name !== "l" && !known.has(name));
      const stacked = overlayDrivers.includes(driver);
      return [
        ...more.map((name) => `no record names the directory ${name}`),
        ...[...known]
          .filter((id) => !existsSync(join(folder, id, stacked ? "diff" : "root")))
          .map((id) => `the directory ${id} has no files`),
        ...(stacked ? linkProblems(folder, known) : []),
      ];
    });
}

/** Links and what stands on what, in Docker's layout. */
function linkProblems(folder: string, known: ReadonlySet<string>): string[] {
  const problems: string[] = [];
  const links = new Map(readdirSync(join(folder, "l")).map((name) => [name, readlinkSync(join(folder, "l", name))]));
  for (const id of known) {
    const link = join(folder, id, "link");
    if (!existsSync(link)) {
      problems.push(`the directory ${id} has no link`);
      continue;
    }
    const name = readFileSync(link, "utf8");
    if (links.get(name) !== `../${id}/diff`) problems.push(`the link ${name} of ${id} leads to ${links.get(name)}`);
    links.delete(name);
    const lower = join(folder, id, "lower");
    const below = existsSync(lower) ? readFileSync(lower, "utf8").split(":") : [];
    for (const one of below)
      if (!existsSync(join(folder, one))) problems.push(`${id} stands on ${one}, which is nothing`);
  }
  for (const [name, target] of links) problems.push(`no directory has the link ${name} to ${target}`);
  return problems;
}

function layerProblems(db: Database, { layers = new Set<string>() }: Rows, has: ReadonlySet<string>): string[] {
  const parents = new Map(
    db
      .query<{ chain_id: string; parent: string | null }, []>("SELECT chain_id, parent FROM layers")
      .all()
      .map((row) => [row.chain_id, row.parent]),
  );
  const needed = new Set<string>();
  const need = (chainId: string | null | undefined): void => {
    for (let at = chainId; at != null && !needed.has(at); at = parents.get(at)) needed.add(at);
  };
  column(db, "SELECT chain_id FROM image_layers").forEach(need);
  column(db, "SELECT parent FROM snapshots WHERE parent IS NOT NULL").forEach(need);
  // A build's cache keeps the layers that it made.
  if (has.has("build_records")) column(db, "SELECT top FROM build_records").forEach(need);
  return [
    ...[...layers].filter((chainId) => !needed.has(chainId)).map((chainId) => `nothing needs the layer ${chainId}`),
    ...column(db, "SELECT chain_id FROM image_layers")
      .filter((chainId) => !layers.has(chainId))
      .map((chainId) => `an image needs the layer ${chainId}, which is not there`),
  ];
}

function blobProblems(db: Database, root: string, { blobs = new Set<string>() }: Rows): string[] {
  const folder = join(root, "content/blobs/sha256");
  const needed = new Set([
    ...column(db, "SELECT id FROM images"),
    ...column(db, "SELECT digest FROM image_manifests"),
    ...column(db, "SELECT blob_digest FROM image_layers WHERE blob_digest IS NOT NULL"),
    ...column(db, "SELECT digest FROM layer_blobs"),
    ...column(db, "SELECT digest FROM image_indexes"),
    ...column(db, "SELECT manifest_digest FROM index_images"),
    ...column(db, "SELECT digest FROM image_attestations"),
  ]);
  const files = new Set(readdirSync(folder).map((name) => `sha256:${name}`));
  const sizes = new Map(
    db
      .query<{ digest: string; size: number }, []>("SELECT digest, size FROM blobs")
      .all()
      .map((row) => [row.digest, row.size]),
  );
  const problems: string[] = [];
  for (const digest of files) {
    const file = join(folder, digest.slice(7));
    if (!blobs.has(digest)) problems.push(`no record names the blob ${digest}`);
    else if (statSync(file).size !== sizes.get(digest)) problems.push(`the blob ${digest} has another size`);
    const found = createHash("sha256").update(readFileSync(file)).digest("hex");
    if (`sha256:${found}` !== digest) problems.push(`the blob ${digest} has other bytes`);
  }
  for (const digest of blobs) {
    if (!files.has(digest)) problems.push(`the blob ${digest} has no file`);
    if (!needed.has(digest)) problems.push(`nothing needs the blob ${digest}`);
  }
  return problems;
}

function imageProblems(db: Database, { images = new Set<string>(), blobs = new Set<string>() }: Rows): string[] {
  const missing = (query: string, what: string, there: ReadonlySet<string>): string[] =>
    column(db, query)
      .filter((one) => !there.has(one))
      .map((one) => `${what} ${one}, which is not there`);
  return [
    ...missing("SELECT image_id FROM image_tags", "a tag names the image", images),
    ...missing("SELECT image_id FROM image_digests", "a digest names the image", images),
    ...missing("SELECT image_id FROM image_layers", "layers belong to the image", images),
    ...missing("SELECT id FROM images", "an image has the config", blobs),
    ...missing("SELECT digest FROM image_manifests", "an image has the manifest", blobs),
    ...missing(
      "SELECT blob_digest FROM image_layers WHERE blob_digest IS NOT NULL",
      "an image has the layer's blob",
      blobs,
    ),
  ];
}

function emptyProblems(root: string, folders: readonly string[]): string[] {
  return folders.flatMap((folder) =>
    existsSync(join(root, folder)) ? readdirSync(join(root, folder)).map((name) => `left in ${folder}: ${name}`) : [],
  );
}
