// A small file system that fills up in the middle of work: a clear error, nothing recorded, nothing left, and a retry that works.
import { describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { importBusybox } from "../support/busybox-image.ts";
import { applyEntries, baseEntries, mounted } from "../contract/snapshotter.suite.ts";
import { ask, execContainer, startContainer } from "../support/engine-containers.ts";
import { newLoopVolume } from "../support/loop-volume.ts";
import { shell } from "../support/raw-tar.ts";
import { newSnapshotPlace, type SnapshotPlace } from "../support/snapshot-place.ts";
import { TestEngine, waitFor } from "../support/test-engine.ts";

const mebibyte = 1024 * 1024;
const newExt4 = (sizeMebibytes: number) => newLoopVolume(["mkfs.ext4", "-q", "-m", "0"], sizeMebibytes);

/** Bytes that no file system makes smaller. */
function noise(sizeBytes: number): Uint8Array {
  const bytes = new Uint8Array(sizeBytes);
  for (let at = 0; at < sizeBytes; at += 65_536) crypto.getRandomValues(bytes.subarray(at, at + 65_536));
  return bytes;
}

/** Takes what is free, down to `leaveBytes`; dispose to have it back. */
function fill(folder: string, leaveBytes: number): Disposable {
  const file = join(folder, "filler");
  const { bavail, bsize } = statfsSync(folder);
  shell(folder, `fallocate -l ${Math.max(bavail * bsize - leaveBytes, 1)} ${file} || true`);
  if (leaveBytes === 0) shell(folder, `dd if=/dev/zero of=${file}.rest bs=4096 2>/dev/null || true`);
  return {
    [Symbol.dispose]() {
      for (const one of [file, `${file}.rest`]) rmSync(one, { force: true });
    },
  };
}

/** All that a driver and its trash have on disk. */
async function onDisk({ paths, snapshots }: SnapshotPlace): Promise<string[]> {
  await snapshots.settled();
  const root = join(paths.root, snapshots.name);
  const links = existsSync(join(root, "l")) ? readdirSync(join(root, "l")) : [];
  return [...readdirSync(root), ...links, ...readdirSync(paths.trash)].sort();
}

const drivers = ["overlay2", "vfs"] as const;

describe.each(drivers)("%s", (driver) => {
  test("a layer, a copy and a commit that the disk cannot take leave all as it was, and work once there is room", async () => {
    await using volume = newExt4(32);
    await using place = newSnapshotPlace(driver, volume.path);
    const { snapshots } = place;
    const base = await applyEntries(snapshots, undefined, ...baseEntries);
    await snapshots.prepare("k", base.chainId);
    await mounted(snapshots, "k", async (merged) => {
      writeFileSync(join(merged, "mine"), noise(2 * mebibyte));
      const before = await onDisk(place);
      {
        using _ = fill(volume.path, mebibyte);
        const big = { name: "big", body: noise(4 * mebibyte) };
        await expect(applyEntries(snapshots, base.chainId, big)).rejects.toThrow("no space left");
        await expect(snapshots.commitCopy("k")).rejects.toThrow("no space left");
        expect([snapshots.layers(), snapshots.keys(), await onDisk(place)]).toEqual([[base], ["k"], before]);
      }
      const copy = await snapshots.commitCopy("k");
      expect(copy).toMatchObject({ sizeBytes: 2 * mebibyte });
      await snapshots.removeLayer(copy?.chainId ?? "");
      await snapshots.settled();
    });
    expect((await snapshots.changes("k")).map(({ Path }) => Path)).toEqual(["/mine"]);
    expect(await snapshots.commit("k")).toMatchObject({ parent: base.chainId, sizeBytes: 2 * mebibyte });
  });
});

test("overlay2: a commit that has no room for its record or its directory keeps the snapshot", async () => {
  await using volume = newExt4(16);
  await using place = newSnapshotPlace("overlay2", volume.path);
  const { snapshots, db } = place;
  await snapshots.prepare("k", undefined, { hostFiles: false });
  writeFileSync(join(snapshots.diffDirectory("k"), "mine"), noise(100_000));
  const before = await onDisk(place);
  {
    using _ = fill(volume.path, 0);
    // The directory or the database: which of them finds no block depends on where the file system has its last ones.
    await expect(snapshots.commit("k")).rejects.toThrow(/no space left|disk is full/i);
    expect([snapshots.layers(), snapshots.keys(), await onDisk(place)]).toEqual([[], ["k"], before]);
  }
  // A full disk is one of many reasons for a record that cannot be.
  db.run("CREATE TRIGGER no_record BEFORE INSERT ON layers BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END");
  await expect(snapshots.commit("k")).rejects.toThrow("database or disk is full");
  expect([snapshots.layers(), snapshots.keys(), await onDisk(place)]).toEqual([[], ["k"], before]);
  db.run("DROP TRIGGER no_record");
  expect(await snapshots.commit("k")).toMatchObject({ sizeBytes: 100_000 });
});

test("the engine says that the disk is full when it commits, and the container and its image go on", async () => {
  await using volume = newExt4(64);
  await using engine = new TestEngine();
  const root = join(volume.path, "root");
  mkdirSync(root);
  await engine.start(["--root", root]);
  await importBusybox(engine);
  const id = await startContainer(
    engine,
    "dd if=/dev/urandom of=/mine bs=1M count=8 2>/dev/null; touch /done; sleep 1000",
  );
  await waitFor("the file", async () => (await execContainer(engine, id, ["ls", "/done"])).exitCode === 0);
  const images = await ask(engine, "GET", "/images/json?all=1");
  const layers = (): string[] => readdirSync(join(root, "overlay2")).sort();
  const before = layers();
  {
    using _ = fill(volume.path, 2 * mebibyte);
    const refused = await engine.api("POST", `/commit?container=${id}&repo=made`);
    expect([refused.status, await refused.text()]).toEqual([507, expect.stringContaining("no space left")]);
    expect(await ask(engine, "GET", "/images/json?all=1")).toEqual(images);
    expect(layers()).toEqual(before);
  }
  expect(await execContainer(engine, id, ["ls", "-l", "/mine"])).toMatchObject({ exitCode: 0 });
  await ask(engine, "POST", `/commit?container=${id}&repo=made`);
  await ask(engine, "DELETE", `/containers/${id}?force=1`);
});
