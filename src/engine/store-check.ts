import { existsSync, mkdirSync, readdirSync, readlinkSync, renameSync, statSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { newId, toEngineError } from "../common/index.ts";
import { unrecordedBlobs } from "../content/index.ts";
import type { Finding, ImageCheckCounts } from "../image/index.ts";
import type { CheckReport } from "../spec/index.ts";
import type { Core } from "./core.ts";

/** Whoever makes a folder records it within this time; a younger one may be on its way. */
const settledMs = 5000;

/**
 * Verifies the store while the engine works with it, and mends what it can when asked to: what is broken is moved away, what nobody needs
 * is removed, what is whole stays. An engine that starts has swept up before: what is found here came about since, or was done by hand.
 */
export async function checkStore(core: Core, { repair }: { repair: boolean }): Promise<CheckReport> {
  const counts: ImageCheckCounts = { blobs: 0, packed: 0, compared: 0, images: 0 };
  const findings: CheckReport["Findings"][number][] = [];
  for await (const { mend, kind, subject, problem, remedy } of allFindings(core, counts)) {
    const shown = { Kind: kind, Subject: subject, Problem: problem, Remedy: remedy, CanMend: mend !== undefined };
    if (!repair || !mend) {
      findings.push({ ...shown, Mended: false });
      continue;
    }
    try {
      await mend();
      findings.push({ ...shown, Mended: true });
    } catch (error) {
      findings.push({ ...shown, Mended: false, Failure: toEngineError(error).message });
    }
  }
  return {
    Blobs: counts.blobs,
    Layers: { Packed: counts.packed, Compared: counts.compared },
    Images: counts.images,
    Containers: core.store.all().length,
    Volumes: core.volumes.names().length,
    Findings: findings,
  };
}

async function* allFindings(core: Core, counts: ImageCheckCounts): AsyncGenerator<Finding> {
  yield* core.images.check(counts);
  yield* containerFindings(core);
  yield* volumeFindings(core);
  yield* orphans(core);
}

function* containerFindings(core: Core): Generator<Finding> {
  const keys = new Set(core.snapshots.keys());
  for (const { id, name, imageId } of core.store.all()) {
    if (!keys.has(id)) {
      yield {
        kind: "container",
        subject: name,
        problem: "its read-write layer is gone",
        remedy: `cannot start again: remove it with "vitrine rm ${name}"`,
      };
    }
    if (!core.images.find(imageId)) {
      yield {
        kind: "container",
        subject: name,
        problem: `its image "${imageId}" is gone`,
        remedy: "keeps its layers, and starts as long as they are there",
      };
    }
  }
}

function* volumeFindings(core: Core): Generator<Finding> {
  const names = new Set(core.volumes.names());
  for (const name of names) {
    const directory = core.volumes.directory(name);
    if (existsSync(directory)) continue;
    yield {
      kind: "volume",
      subject: name,
      problem: `its folder "${directory}" is gone`,
      remedy: "gets an empty folder",
      mend: () => void mkdirSync(directory, { recursive: true }),
    };
  }
  for (const name of namesIn(core.paths.volumes)) {
    if (names.has(name) || !isSettled(join(core.paths.volumes, name))) continue;
    const isVolume = existsSync(join(core.paths.volumes, name, "_data"));
    yield {
      kind: "volume",
      subject: name,
      problem: `no record names its folder "${join(core.paths.volumes, name)}"`,
      remedy: isVolume ? "is recorded again, with what is in it" : "is removed",
      mend: () =>
        isVolume ? void core.volumes.ensure(name, { anonymous: false }) : discard(core, join(core.paths.volumes, name)),
    };
  }
}

/** What no record names: blobs, directories of layers and snapshots, links to them, snapshots and directories of containers. */
async function* orphans(core: Core): AsyncGenerator<Finding> {
  const containers = new Set(core.store.all().map(({ id }) => id));
  for (const path of unrecordedBlobs({ paths: core.paths, db: core.database })) yield* orphan(core, path, "blob");
  const folder = join(core.paths.root, "containers");
  for (const id of namesIn(folder)) if (!containers.has(id)) yield* orphan(core, join(folder, id), "container");
  // A build's or a pull's own layers and snapshots look the same as orphans until they are named.
  if (core.images.isBusy) return;
  const driver = join(core.paths.root, core.snapshots.name);
  const keys = core.snapshots.keys();
  const known = new Set([...core.snapshots.layers().map(({ directoryId }) => directoryId), ...keys, "l"]);
  for (const key of keys) known.add(`${key}-init`);
  for (const name of namesIn(driver)) if (!known.has(name)) yield* orphan(core, join(driver, name), "layer");
  for (const name of namesIn(join(driver, "l"))) {
    const path = join(driver, "l", name);
    const id = /^\.\.\/([^/]+)\/diff$/.exec(readlinkSync(path))?.[1];
    if (id === undefined || !known.has(id)) yield* orphan(core, path, "layer link");
  }
  for (const key of keys) {
    if (containers.has(key) || !isSettled(join(driver, key))) continue;
    yield {
      kind: "snapshot",
      subject: key,
      problem: "no container has this read-write layer",
      remedy: "is removed",
      mend: () => core.snapshots.remove(key),
    };
  }
}

function* orphan(core: Core, path: string, what: string): Generator<Finding> {
  if (!isSettled(path)) return;
  const problem = `no record names this ${what}`;
  yield { kind: "orphan", subject: path, problem, remedy: "is removed", mend: () => discard(core, path) };
}

/** Out of the way at once, then deleted; what a kill leaves of it goes at the next start. */
async function discard(core: Core, path: string): Promise<void> {
  const target = join(core.paths.trash, newId());
  renameSync(path, target);
  await rm(target, { recursive: true, force: true });
}

function isSettled(path: string): boolean {
  const status = statSync(path, { throwIfNoEntry: false, bigint: false });
  // A link to nothing has no age of its own to look at, and is nobody's.
  return status === undefined || Date.now() - status.ctimeMs > settledMs;
}

function namesIn(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder) : [];
}
