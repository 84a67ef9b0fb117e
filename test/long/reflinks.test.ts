// Where the file system has reflinks, copies share their blocks, as filefrag(8) sees by FIEMAP. And what is chosen where.
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { applyEntries, baseEntries, mounted } from "../contract/snapshotter.suite.ts";
import { newLoopVolume } from "../support/loop-volume.ts";
import { shell } from "../support/raw-tar.ts";
import { newSnapshotPlace } from "../support/snapshot-place.ts";

const sizeBytes = 8 * 1024 * 1024;

const extentPattern = /^ *\d+: +\d+\.\. +\d+: +(\d+)\.\. +\d+: +(\d+):(.*)$/;

/** Where a file's blocks are on the disk, and whether all of them are shared. */
function extentsOf(file: string): { places: string[]; shared: boolean } {
  const lines = shell("/", `sync -f ${file}; filefrag -v ${file}`).split("\n");
  const extents = lines.map((line) => extentPattern.exec(line)).filter((one) => one !== null);
  expect(extents.length).toBeGreaterThan(0);
  return {
    places: extents.map(([, start, length]) => `${start}+${length}`),
    shared: extents.every(([, , , flags]) => flags?.includes("shared") === true),
  };
}

describe.each([
  ["vfs", "xfs", ["mkfs.xfs", "-q"]],
  ["vfs", "btrfs", ["mkfs.btrfs", "-q"]],
  ["btrfs", "btrfs", ["mkfs.btrfs", "-q"]],
] as const)("%s on %s", (driver, _type, mkfs) => {
  test("a layer, those above it and a container have one set of blocks, and a write takes new ones for itself alone", async () => {
    await using volume = newLoopVolume(mkfs, 320);
    await using place = newSnapshotPlace(driver, volume.path);
    const { snapshots } = place;
    const body = new Uint8Array(sizeBytes);
    for (let at = 0; at < sizeBytes; at += 65_536) crypto.getRandomValues(body.subarray(at, at + 65_536));
    const base = await applyEntries(snapshots, undefined, ...baseEntries, { name: "big", body });
    const top = await applyEntries(snapshots, base.chainId, { name: "d/three", body: "3" });
    const one = join(snapshots.layerDirectory(base.chainId), "big");
    const used = (): number => Number(shell(volume.path, "sync -f .; df --output=used -B1 . | tail -1"));
    const usedBefore = used();
    for (const key of ["a", "b", "c", "d"]) await snapshots.prepare(key, top.chainId);
    const copies = ["a", "b", "c", "d"].map((key) => join(snapshots.diffDirectory(key), "big"));
    for (const copy of [join(snapshots.layerDirectory(top.chainId), "big"), ...copies]) {
      expect(extentsOf(copy)).toEqual({ places: extentsOf(one).places, shared: true });
    }
    // Four containers with their init layers, eight copies of the file: less than one of it in space.
    expect(used() - usedBefore).toBeLessThan(sizeBytes);
    await mounted(snapshots, "a", (merged) => {
      shell(merged, "dd if=/dev/urandom of=big bs=4096 count=1 seek=100 conv=notrunc 2>/dev/null");
    });
    expect(extentsOf(copies[0] ?? "").shared).toBe(false);
    expect(extentsOf(copies[1] ?? "")).toEqual({ places: extentsOf(one).places, shared: true });
    expect(shell("/", `cmp -n 409600 ${one} ${copies[0]}; cmp -s ${one} ${copies[0]} || echo differs`)).toBe(
      "differs\n",
    );
  });
});

test("ext4 has no reflinks: there a copy has blocks of its own", async () => {
  await using volume = newLoopVolume(["mkfs.ext4", "-q"], 64);
  await using place = newSnapshotPlace("vfs", volume.path);
  const { snapshots } = place;
  const base = await applyEntries(snapshots, undefined, ...baseEntries, {
    name: "big",
    body: new Uint8Array(1e6).fill(1),
  });
  await snapshots.prepare("a", base.chainId);
  const [one, copy] = [join(snapshots.layerDirectory(base.chainId), "big"), join(snapshots.diffDirectory("a"), "big")];
  expect(extentsOf(copy).places).not.toEqual(extentsOf(one).places);
  expect(extentsOf(copy).shared).toBe(false);
});

describe("the choice by what the file system supports", () => {
  test.each([
    ["xfs", ["mkfs.xfs", "-q"], "overlay2", "xfs can hold it"],
    ["btrfs", ["mkfs.btrfs", "-q"], "overlay2", "btrfs can hold it"],
    ["ext4", ["mkfs.ext4", "-q"], "overlay2", "extfs can hold it"],
    // Without types in its listings the kernel's overlay cannot tell a whiteout; the program looks at each file.
    [
      "ext4 without d_type",
      ["mkfs.ext4", "-q", "-O", "^filetype"],
      "fuse-overlayfs",
      "not overlay2: its directory listings tell no types (d_type)",
    ],
  ] as const)("%s", async (_name, mkfs, driver, reason) => {
    await using volume = newLoopVolume(mkfs, 320);
    await using place = newSnapshotPlace(undefined, volume.path);
    const { snapshots } = place;
    const status = new Map(snapshots.status());
    expect([snapshots.name, status.get("Chosen")]).toEqual([driver, expect.stringContaining(reason)]);
    expect(status.get("Supports d_type")).toBe(String(driver === "overlay2"));
    const base = await applyEntries(snapshots, undefined, ...baseEntries);
    await snapshots.prepare("k", base.chainId, { hostFiles: false });
    await mounted(snapshots, "k", (merged) => {
      shell(merged, "rm d/one; rm -r etc; echo 3 > d/two");
      expect(shell(merged, "find . -mindepth 1 | LC_ALL=C sort | tr '\\n' ' '; cat d/two")).toBe("./d ./d/two 3\n");
    });
    const top = await snapshots.commit("k");
    await snapshots.prepare("n", top?.chainId, { hostFiles: false });
    await mounted(snapshots, "n", (merged) => expect(shell(merged, "ls . d")).toBe(".:\nd\n\nd:\ntwo\n"));
  });
});
