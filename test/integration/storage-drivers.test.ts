import { afterAll, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseStorageDriver } from "../../src/snapshot/index.ts";
import { applyEntries, baseEntries, describeSnapshotter, mounted } from "../contract/snapshotter.suite.ts";
import { newBtrfsVolume } from "../support/btrfs-volume.ts";
import { collect, shell } from "../support/raw-tar.ts";
import { newScratch } from "../support/scratch.ts";
import { newSnapshotPlace } from "../support/snapshot-place.ts";

const volume = newBtrfsVolume();
afterAll(() => volume[Symbol.asyncDispose]());

const places = {
  vfs: () => newSnapshotPlace("vfs"),
  btrfs: () => newSnapshotPlace("btrfs", volume.path),
};

for (const [name, newPlace] of Object.entries(places)) {
  describeSnapshotter(name, newPlace);

  describe(`${name}: whole trees`, () => {
    test("a file whose bytes changed while size and time did not is a change, and is committed", async () => {
      await using place = newPlace();
      const { snapshots } = place;
      const base = await applyEntries(snapshots, undefined, ...baseEntries);
      await snapshots.prepare("k", base.chainId);
      await mounted(snapshots, "k", (merged) => {
        shell(
          merged,
          "touch -r d/two ref; printf 33 > d/two; touch -r ref d/two; rm ref; touch etc/passwd -r etc/passwd",
        );
      });
      expect((await snapshots.changes("k")).map(({ Path }) => Path)).toEqual(["/d", "/d/two"]);
      const layer = await snapshots.commit("k");
      await snapshots.prepare("n", layer?.chainId);
      await mounted(snapshots, "n", (merged) => expect(readFileSync(join(merged, "d/two"), "utf8")).toBe("33"));
    });

    test("what an image has itself under a name of the init layer stays, and a commit packs to the same bytes again", async () => {
      await using place = newPlace();
      const { snapshots } = place;
      const base = await applyEntries(snapshots, undefined, ...baseEntries, { name: "etc/hosts", body: "own" });
      await snapshots.prepare("k", base.chainId);
      await mounted(snapshots, "k", (merged) => {
        expect(readFileSync(join(merged, "etc/hosts"), "utf8")).toBe("");
        shell(
          merged,
          "rm etc/mtab; ln d/one d/link; setfattr -n user.x -v y etc; touch dev/x; rm -r d/two; mkdir d/two",
        );
      });
      const layer = await snapshots.commit("k");
      const tar = await collect(snapshots.packLayer(layer?.chainId ?? ""));
      expect(`sha256:${new Bun.CryptoHasher("sha256").update(tar).digest("hex")}`).toBe(layer?.diffId ?? "");
      const file = join(place.paths.root, "layer.tar");
      writeFileSync(file, tar);
      const names = shell("/", `tar -tf ${file} | LC_ALL=C sort | tr '\\n' ' '`);
      expect(names).toBe("d/ d/link d/two/ dev/ dev/x etc/ ");
      await snapshots.prepare("n", layer?.chainId, { hostFiles: false });
      await mounted(snapshots, "n", (merged) => {
        expect(readFileSync(join(merged, "etc/hosts"), "utf8")).toBe("own");
        expect(shell(merged, "getfattr --only-values -n user.x etc; stat -c %F d/two")).toBe("ydirectory\n");
      });
    });

    test("owners, attributes, devices and hard links are the same in a copy", async () => {
      await using place = newPlace();
      const { snapshots } = place;
      const base = await applyEntries(snapshots, undefined, ...baseEntries);
      await snapshots.prepare("k", base.chainId);
      const look = "stat -c '%n %F %a %u:%g %h %s %Y %t:%T' a b n p d; getfattr --only-values -n user.x a";
      const before = await mounted(snapshots, "k", (merged) => {
        shell(
          merged,
          "printf 12 > a; ln a b; chown 5:6 a; chmod 4711 a; setfattr -n user.x -v y a; mknod n c 1 3; mkfifo p",
        );
        shell(merged, "chmod 751 d; touch -d @5 a n p d");
        return shell(merged, look);
      });
      const layer = await snapshots.commit("k");
      await snapshots.prepare("n", layer?.chainId);
      await mounted(snapshots, "n", (merged) => expect(shell(merged, look)).toBe(before));
    });

    test("SIGKILL at any moment of apply, commit and remove: the next start has whole layers only", async () => {
      await using place = newPlace();
      const script = join(import.meta.dir, "../fixtures/snapshot-until-killed.ts");
      for (const delayMs of [3, 30, 90]) {
        const child = Bun.spawn([process.execPath, script, place.paths.root, name], {
          stdout: "pipe",
          stderr: "inherit",
        });
        // The first line says that it is at work; from there the moment is left to chance.
        await child.stdout.getReader().read();
        await Bun.sleep(delayMs);
        child.kill("SIGKILL");
        await child.exited;
        const next = place.restart();
        const known = [
          ...next.layers().map((layer) => layer.directoryId),
          ...next.keys().flatMap((key) => [key, `${key}-init`]),
        ];
        expect(readdirSync(join(place.paths.root, name)).sort()).toEqual(known.sort());
        for (const layer of next.layers()) {
          await next.prepare("check", layer.chainId);
          await mounted(next, "check", (merged) => expect(shell(merged, "cat whole | wc -c")).toBe("100000\n"));
          await next.remove("check");
        }
        await next.settled();
        expect(readdirSync(place.paths.trash)).toEqual([]);
      }
    });

    test("a layer stays while a snapshot is copied from it, and a key is taken from the first moment on", async () => {
      await using place = newPlace();
      const { snapshots } = place;
      const base = await applyEntries(snapshots, undefined, ...baseEntries);
      const preparing = snapshots.prepare("k", base.chainId);
      await expect(snapshots.removeLayer(base.chainId)).rejects.toThrow("snapshot k stands on it");
      await expect(snapshots.prepare("k", base.chainId)).rejects.toThrow('A snapshot "k" is there already');
      await preparing;
      await mounted(snapshots, "k", (merged) => expect(shell(merged, "cat d/two")).toBe("22"));
    });

    test("a crash leaves nothing behind the next start", async () => {
      await using place = newPlace();
      const { snapshots, paths } = place;
      const base = await applyEntries(snapshots, undefined, ...baseEntries);
      await snapshots.prepare("live", base.chainId);
      await snapshots.prepare("gone", base.chainId);
      await mounted(snapshots, "gone", (merged) => shell(merged, "touch x"));
      place.db.run("DELETE FROM snapshots WHERE key = 'gone'");
      const next = place.restart();
      await next.settled();
      const root = join(paths.root, name);
      expect(readdirSync(root).sort()).toEqual([base.directoryId, "live", "live-init"].sort());
      expect(readdirSync(paths.trash)).toEqual([]);
      expect([next.keys(), next.layers()]).toEqual([["live"], [base]]);
    });
  });
}

test("btrfs shares an image's files with its snapshots, and removes subvolumes that a container made", async () => {
  await using place = places.btrfs();
  const { snapshots, paths } = place;
  const base = await applyEntries(snapshots, undefined, ...baseEntries);
  await snapshots.prepare("k", base.chainId);
  const list = (): string => shell(volume.path, "btrfs subvolume list . | grep -c ' path .*'; true");
  await mounted(snapshots, "k", (merged) => {
    shell(merged, "btrfs subvolume create d/own; btrfs subvolume create d/own/inner; echo 1 > d/own/inner/file");
  });
  const own = shell(
    join(paths.root, "btrfs"),
    "ls -d k/root k-init/root | while read one; do btrfs subvolume show $one | head -1; done",
  );
  expect(own.trim().split("\n")).toHaveLength(2);
  expect(list()).not.toBe("0\n");
  await snapshots.remove("k");
  await snapshots.removeLayer(base.chainId);
  await snapshots.settled();
  expect(readdirSync(join(paths.root, "btrfs"))).toEqual([]);
  expect(readdirSync(paths.trash)).toEqual([]);
});

describe("the choice", () => {
  test("names what replaced a driver that is no more", () => {
    for (const name of ["aufs", "overlay", "devicemapper"]) {
      expect(() => parseStorageDriver(name)).toThrow("overlay2 replaced it");
    }
    expect(() => parseStorageDriver("nothing")).toThrow(
      'No storage driver is called "nothing": there are overlay2, btrfs, fuse-overlayfs, vfs',
    );
  });

  test("is overlay2 by itself, stays what the root has layers of, and says why", async () => {
    await using place = newSnapshotPlace(undefined);
    expect(place.snapshots.name).toBe("overlay2");
    expect(new Map(place.snapshots.status()).get("Chosen")).toContain("can hold it");
    await using other = newSnapshotPlace("vfs");
    await applyEntries(other.snapshots, undefined, ...baseEntries);
    const { openSnapshotter } = await import("../../src/snapshot/index.ts");
    expect(openSnapshotter({ paths: other.paths, db: other.db }).name).toBe("vfs");
    expect(() => openSnapshotter({ paths: other.paths, db: other.db, driver: "overlay2" })).toThrow(
      `"${other.paths.root}" holds layers of the storage driver vfs`,
    );
  });

  test("says that fuse-overlayfs has no program here", async () => {
    await using scratch = newScratch();
    const { PATH } = process.env;
    process.env.PATH = scratch.path;
    try {
      expect(() => newSnapshotPlace("fuse-overlayfs")).toThrow("The storage driver fuse-overlayfs cannot work on");
      expect(() => newSnapshotPlace("fuse-overlayfs")).toThrow("the program fuse-overlayfs is not installed");
    } finally {
      process.env.PATH = PATH;
    }
  });

  test("goes by the layers that are there, not by the empty folder of a driver that was tried before", async () => {
    await using place = newSnapshotPlace("overlay2");
    const { openSnapshotter } = await import("../../src/snapshot/index.ts");
    const open = (driver?: "vfs") =>
      openSnapshotter({ paths: place.paths, db: place.db, ...(driver === undefined ? {} : { driver }) });
    const base = await applyEntries(open("vfs"), undefined, ...baseEntries);
    const again = open();
    expect([again.name, again.layers()]).toEqual(["vfs", [base]]);
    expect(readdirSync(join(place.paths.root, "vfs"))).toEqual([base.directoryId]);
  });

  test("refuses btrfs elsewhere, and falls to vfs where overlay2 cannot be: on an overlay", async () => {
    expect(() => newSnapshotPlace("btrfs")).toThrow("subvolumes need btrfs");
    await using scratch = newScratch();
    const { path } = scratch;
    shell(path, "mkdir a b w m; mount -t overlay trial -o lowerdir=$PWD/a,upperdir=$PWD/b,workdir=$PWD/w m");
    await using place = newSnapshotPlace(undefined, join(path, "m"));
    expect(place.snapshots.name).toBe("vfs");
    const status = new Map(place.snapshots.status());
    expect([status.get("Backing Filesystem"), status.get("Chosen")]).toEqual([
      "overlay",
      expect.stringContaining("not overlay2: "),
    ]);
    expect(() => newSnapshotPlace("overlay2", join(path, "m"))).toThrow("The storage driver overlay2 cannot work on");
    expect(readdirSync(place.paths.root).filter((name) => name.startsWith(".overlay-probe"))).toEqual([]);
  });

  test("a full disk in the middle of a layer or a copy is told, and nothing of it stays", async () => {
    await using scratch = newScratch();
    shell(scratch.path, "mkdir m; mount -t tmpfs -o size=3M none m");
    await using place = newSnapshotPlace("vfs", join(scratch.path, "m"));
    const { snapshots, paths } = place;
    const [base, before] = [
      await applyEntries(snapshots, undefined, ...baseEntries, {
        name: "big",
        body: new Uint8Array(1_200_000).fill(1),
      }),
      readdirSync(join(paths.root, "vfs")),
    ];
    await expect(applyEntries(snapshots, undefined, { name: "x", body: new Uint8Array(2_500_000) })).rejects.toThrow(
      "no space left",
    );
    await snapshots.settled();
    await expect(snapshots.prepare("k", base.chainId)).rejects.toThrow("No space left");
    await snapshots.settled();
    expect([snapshots.keys(), readdirSync(join(paths.root, "vfs"))]).toEqual([[], before]);
  });
});
