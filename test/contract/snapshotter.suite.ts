// What every snapshotter does, whatever its disk looks like. An implementation's test calls `describeSnapshotter`.
import { describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { mount, unmount } from "../../src/kernel/index.ts";
import type { Layer, Snapshotter } from "../../src/snapshot/index.ts";
import { collect, inChunks, rawTar, shell, type RawEntry } from "../support/raw-tar.ts";
import { newScratch } from "../support/scratch.ts";

export interface SnapshotterPlace extends AsyncDisposable {
  readonly snapshots: Snapshotter;
}

const rootEntry = { name: "./", flag: "5", mode: 0o755 } as const;

/** The base most tests stand on. */
export const baseEntries: readonly RawEntry[] = [
  rootEntry,
  { name: "etc/", flag: "5", mode: 0o755 },
  { name: "etc/passwd", body: "root:x:0:0" },
  { name: "d/", flag: "5", mode: 0o750, uid: 7 },
  { name: "d/one", body: "1" },
  { name: "d/two", body: "22" },
];

export function applyEntries(
  snapshots: Snapshotter,
  parent: string | undefined,
  ...entries: readonly RawEntry[]
): Promise<Layer> {
  return snapshots.apply(parent, inChunks(rawTar(...entries)));
}

/** Mounts a snapshot while `work` runs with the merged directory. */
export async function mounted<Result>(
  snapshots: Snapshotter,
  key: string,
  work: (merged: string) => Result | Promise<Result>,
): Promise<Result> {
  for (const one of snapshots.mounts(key)) mount(one);
  try {
    return await work(snapshots.mergedDirectory(key));
  } finally {
    unmount(snapshots.mergedDirectory(key));
  }
}

const sha256 = (bytes: Uint8Array | string): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
const list = (merged: string): string => shell(merged, "find . -mindepth 1 | LC_ALL=C sort | tr '\\n' ' '");

export function describeSnapshotter(name: string, newPlace: () => SnapshotterPlace): void {
  describe(`${name}: layers`, () => {
    test("diffID is the archive's sha256, chainID follows the OCI rule, and chain lists top first", async () => {
      await using place = newPlace();
      const { snapshots } = place;
      const tar = rawTar(...baseEntries);
      const base = await snapshots.apply(undefined, inChunks(tar), { diffId: sha256(tar) });
      expect(base).toMatchObject({ diffId: sha256(tar), chainId: sha256(tar), parent: undefined, sizeBytes: 13 });
      const top = await applyEntries(snapshots, base.chainId, { name: "d/three", body: "333" });
      expect(top).toMatchObject({
        chainId: sha256(`${base.chainId} ${top.diffId}`),
        parent: base.chainId,
        sizeBytes: 3,
      });
      expect(snapshots.chain(top.chainId)).toEqual([top, base]);
      expect(snapshots.layers()).toEqual([base, top]);
      expect(snapshots.layer(`sha256:${"0".repeat(64)}`)).toBeUndefined();
    });

    test("a layer is made once: again, and by two at a time", async () => {
      await using place = newPlace();
      const { snapshots } = place;
      const tar = rawTar(...baseEntries);
      const expected = { diffId: sha256(tar) };
      const both = await Promise.all([1, 2].map(() => snapshots.apply(undefined, inChunks(tar), expected)));
      const without = await snapshots.apply(undefined, inChunks(tar));
      expect([both[1], without]).toEqual([both[0], both[0]]);
      expect(snapshots.layers()).toHaveLength(1);
    });

    test("another diffID, a damaged archive and an unknown parent leave nothing", async () => {
      await using place = newPlace();
      const { snapshots } = place;
      const tar = rawTar(...baseEntries);
      const diffId = `sha256:${"1".repeat(64)}`;
      await expect(snapshots.apply(undefined, inChunks(tar), { diffId })).rejects.toThrow(
        `The layer should be "${diffId}" and is "${sha256(tar)}"`,
      );
      await expect(snapshots.apply(undefined, inChunks(tar.subarray(0, 700)))).rejects.toThrow("truncated");
      await expect(snapshots.apply(diffId, inChunks(tar))).rejects.toThrow("No layer");
      expect(snapshots.layers()).toEqual([]);
    });

    test("a directory that a layer implies keeps the lower one's mode and owner", async () => {
      await using place = newPlace();
      const { snapshots } = place;
      const base = await applyEntries(snapshots, undefined, ...baseEntries);
      const top = await applyEntries(snapshots, base.chainId, { name: "d/new/file", body: "x" });
      await snapshots.prepare("k", top.chainId);
      await mounted(snapshots, "k", (merged) => {
        expect(shell(merged, "stat -c '%a %u %Y' d; stat -c '%a %u' d/new .")).toBe("750 7 1000000000\n755 0\n755 0\n");
      });
    });

    test("a symlink in a layer leads no attribute of the layers below to a directory of the host", async () => {
      await using place = newPlace();
      await using host = newScratch();
      mkdirSync(join(host.path, "victim"), { mode: 0o700 });
      const { snapshots } = place;
      const base = await applyEntries(snapshots, undefined, { name: `a/victim/`, flag: "5", mode: 0o777, uid: 7 });
      await applyEntries(
        snapshots,
        base.chainId,
        ...host.path
          .split("/")
          .slice(1)
          .map((_, at, parts) => ({ name: `${parts.slice(0, at + 1).join("/")}/`, flag: "5" })),
        { name: "a", flag: "2", link: host.path },
        { name: "a/victim/file", body: "x" },
      );
      expect(shell(host.path, "stat -c '%a %u' victim; ls victim")).toBe("700 0\n");
    });

    test("whiteouts and opaque directories hide what is below, and a whiteout of nothing shows nowhere", async () => {
      await using place = newPlace();
      const { snapshots } = place;
      const base = await applyEntries(snapshots, undefined, ...baseEntries, { name: "d/.wh.never", body: "" });
      const top = await applyEntries(
        snapshots,
        base.chainId,
        { name: "d/.wh.one" },
        { name: "new/", flag: "5", mode: 0o755 },
        { name: "new/.wh.nothing" },
        { name: "etc/.wh..wh..opq" },
        { name: "etc/own", body: "" },
      );
      await snapshots.prepare("k", top.chainId, { hostFiles: false });
      await mounted(snapshots, "k", (merged) => expect(list(merged)).toBe("./d ./d/two ./etc ./etc/own ./new "));
    });

    test("layers that are applied all at once on parents to come are what they are one after another", async () => {
      const stack = [
        rawTar(
          ...baseEntries,
          { name: "old/", flag: "5", mode: 0o755 },
          { name: "old/x", body: "x" },
          { name: "d/gone", body: "g" },
        ),
        rawTar(
          { name: "d/new/file", body: "n" },
          { name: "d/.wh.one" },
          { name: "d/.wh.never" },
          { name: "old/.wh.nothing" },
          { name: "etc/", flag: "5", mode: 0o711 },
          { name: "etc/.wh.nothing" },
        ),
        rawTar({ name: "linked", flag: "1", link: "d/two" }, { name: "d/new/", flag: "5", mode: 0o700, uid: 9 }),
        rawTar({ name: "d/new/deep/file", body: "4" }, { name: "d/.wh.gone" }, { name: "linked" }),
      ];
      const looks = async (place: SnapshotterPlace, top: Layer): Promise<string> => {
        await place.snapshots.prepare("k", top.chainId, { hostFiles: false });
        const script = "find . -printf '%p %y %m %U %T@ %n %s\\n' | grep -v '^./d/new/deep ' | LC_ALL=C sort";
        return await mounted(place.snapshots, "k", (merged) => shell(merged, script));
      };
      await using one = newPlace();
      let below: Layer | undefined;
      for (const tar of stack) below = await one.snapshots.apply(below?.chainId, inChunks(tar));
      await using all = newPlace();
      const layers: Promise<Layer>[] = [];
      for (const tar of stack.slice(0, -1)) {
        layers.push(
          all.snapshots.apply(
            layers.at(-1)?.then(({ chainId }) => chainId),
            inChunks(tar),
          ),
        );
      }
      // The last one's archive has been read to its end before the others may begin to be recorded.
      const parent = Promise.withResolvers<string>();
      const read = Promise.withResolvers<void>();
      async function* watched(): AsyncGenerator<Uint8Array> {
        yield* inChunks(stack.at(-1) ?? new Uint8Array());
        read.resolve();
      }
      const last = all.snapshots.apply(parent.promise, watched());
      if (all.snapshots.name === "overlay2") await read.promise;
      parent.resolve((await layers.at(-1))?.chainId ?? "");
      const top = await last;
      expect(top.chainId).toBe(below?.chainId ?? "");
      expect(await looks(all, top)).toBe(below ? await looks(one, below) : "");
    });

    test("a layer may be put on one that is placed and not yet recorded, and is recorded after it", async () => {
      await using place = newPlace();
      const { snapshots } = place;
      const tars = [rawTar(...baseEntries), rawTar({ name: "d/new", body: "n" }), rawTar({ name: "d/.wh.new" })];
      const layers: Promise<Layer>[] = [];
      let below: Promise<string | undefined> = Promise.resolve(undefined);
      let under: string | undefined;
      const order: string[] = [];
      for (const [index, tar] of tars.entries()) {
        const chainId: string = under === undefined ? sha256(tar) : sha256(`${under} ${sha256(tar)}`);
        const placed = Promise.withResolvers<string>();
        const onPlaced = (): void => placed.resolve(chainId);
        const layer = snapshots.apply(below, inChunks(tar), { chainId, onPlaced });
        void layer.then(() => order.push(`recorded ${index}`));
        layers.push(layer);
        below = placed.promise;
        under = chainId;
      }
      const [base, middle, top] = await Promise.all(layers);
      expect(order).toEqual(["recorded 0", "recorded 1", "recorded 2"]);
      expect(snapshots.chain(top?.chainId ?? "")).toEqual([top, middle, base] as Layer[]);
      await snapshots.prepare("k", top?.chainId, { hostFiles: false });
      await mounted(snapshots, "k", (merged) => {
        expect(list(merged)).toBe("./d ./d/one ./d/two ./etc ./etc/passwd ");
      });
    });

    test("a hard link to a file of a layer below brings a copy of it, and both names are one file", async () => {
      await using place = newPlace();
      const { snapshots } = place;
      const base = await applyEntries(snapshots, undefined, ...baseEntries, {
        name: "d/deep/data",
        body: "data",
        mode: 0o640,
        uid: 8,
      });
      const top = await applyEntries(
        snapshots,
        base.chainId,
        { name: "d/link", flag: "1", link: "d/deep/data" },
        { name: "again", flag: "1", link: "d/link" },
        { name: "old", flag: "1", link: "d/one" },
        { name: "d/one", body: "new" },
      );
      expect(top.sizeBytes).toBe(4 + 1 + 3);
      await snapshots.prepare("k", top.chainId, { hostFiles: false });
      await mounted(snapshots, "k", (merged) => {
        expect(shell(merged, "cat again old d/one; stat -c ' %a %u %Y' d/link; stat -c '%a %u %Y' d")).toBe(
          "data1new 640 8 1000000000\n750 7 1000000000\n",
        );
        expect(shell(merged, "test again -ef d/deep/data && test again -ef d/link && echo same")).toBe("same\n");
      });
      const { chainId } = base;
      const stray = applyEntries(snapshots, chainId, { name: "x", flag: "1", link: "nowhere" });
      await expect(stray).rejects.toThrow('Cannot unpack "x": its other name "nowhere" is not there');
      expect(snapshots.layers()).toHaveLength(2);
    });

    test("a parent that fails, and a chain that is another, leave nothing", async () => {
      await using place = newPlace();
      const { snapshots } = place;
      const tar = rawTar(...baseEntries);
      const failed = Promise.reject(new Error("below is no layer"));
      await expect(snapshots.apply(failed, inChunks(tar))).rejects.toThrow("below is no layer");
      const chainId = `sha256:${"1".repeat(64)}`;
      await expect(snapshots.apply(undefined, inChunks(tar), { chainId })).rejects.toThrow(
        `The chain should be "${chainId}" and is "${sha256(tar)}"`,
      );
      expect(snapshots.layers()).toEqual([]);
    });

    test("layers of an aufs host load: its metadata is dropped, its whiteouts hide", async () => {
      await using place = newPlace();
      const { snapshots } = place;
      const base = await applyEntries(snapshots, undefined, ...baseEntries);
      const top = await applyEntries(
        snapshots,
        base.chainId,
        { name: ".wh..wh.aufs", body: "" },
        { name: ".wh..wh.plnk/", flag: "5", mode: 0o700 },
        { name: ".wh..wh.plnk/123.4", body: "linked" },
        { name: "d/.wh.one", body: "" },
        { name: "d/linked", flag: "1", link: ".wh..wh.plnk/123.4" },
      );
      await snapshots.prepare("k", top.chainId, { hostFiles: false });
      await mounted(snapshots, "k", (merged) => {
        expect(shell(merged, "ls -A . d; cat d/linked")).toBe(".:\nd\netc\n\nd:\nlinked\ntwo\nlinked");
      });
    });

    test("a layer that is needed stays, one that is not goes", async () => {
      await using place = newPlace();
      const { snapshots } = place;
      const base = await applyEntries(snapshots, undefined, ...baseEntries);
      const top = await applyEntries(snapshots, base.chainId, { name: "x", body: "" });
      await expect(snapshots.removeLayer(base.chainId)).rejects.toThrow(`layer ${top.chainId} stands on it`);
      await snapshots.prepare("k", top.chainId);
      await expect(snapshots.removeLayer(top.chainId)).rejects.toThrow("snapshot k stands on it");
      await snapshots.remove("k");
      await snapshots.remove("k");
      await snapshots.removeLayer(top.chainId);
      await snapshots.removeLayer(base.chainId);
      await snapshots.removeLayer(base.chainId);
      expect([snapshots.layers(), snapshots.keys()]).toEqual([[], []]);
    });
  });

  describe(`${name}: snapshots`, () => {
    test("shows the layers, takes changes, and leaves the layers as they were", async () => {
      await using place = newPlace();
      const { snapshots } = place;
      const base = await applyEntries(snapshots, undefined, ...baseEntries);
      await snapshots.prepare("a", base.chainId, { hostFiles: false });
      await snapshots.prepare("b", base.chainId, { hostFiles: false });
      await mounted(snapshots, "a", (merged) => {
        shell(merged, "rm d/one; echo more >> d/two; touch new");
        expect(list(merged)).toBe("./d ./d/two ./etc ./etc/passwd ./new ");
      });
      await mounted(snapshots, "b", (merged) => {
        expect(list(merged)).toBe("./d ./d/one ./d/two ./etc ./etc/passwd ");
        expect(readFileSync(join(merged, "d/two"), "utf8")).toBe("22");
      });
      expect(await snapshots.usage("a")).toBe(7);
      expect(await snapshots.usage("b")).toBe(0);
      expect(snapshots.keys()).toEqual(["a", "b"]);
    });

    test("the init layer brings what containers need and neither changes nor commit tells of it", async () => {
      await using place = newPlace();
      const { snapshots } = place;
      const base = await applyEntries(snapshots, undefined, ...baseEntries);
      await snapshots.prepare("k", base.chainId);
      await mounted(snapshots, "k", (merged) => {
        expect(shell(merged, "stat -c '%n %F' .dockerenv dev/* etc/* proc sys; readlink etc/mtab")).toBe(
          [
            ".dockerenv regular empty file",
            "dev/console regular empty file",
            "dev/pts directory",
            "dev/shm directory",
            "etc/hostname regular empty file",
            "etc/hosts regular empty file",
            "etc/mtab symbolic link",
            "etc/passwd regular file",
            "etc/resolv.conf regular empty file",
            "proc directory",
            "sys directory",
            "/proc/mounts",
            "",
          ].join("\n"),
        );
        shell(merged, "rm .dockerenv; rmdir sys");
      });
      expect(await snapshots.changes("k")).toEqual([
        { Path: "/.dockerenv", Kind: 2 },
        { Path: "/sys", Kind: 2 },
      ]);
      expect(await snapshots.commitCopy("k")).toBeUndefined();
      expect(await snapshots.commit("k")).toBeUndefined();
      expect(snapshots.keys()).toEqual([]);
    });

    test("changes lists kinds as docker diff does, parents first", async () => {
      await using place = newPlace();
      const { snapshots } = place;
      const base = await applyEntries(
        snapshots,
        undefined,
        ...baseEntries,
        { name: "same", body: "s" },
        { name: "z/y/x", body: "" },
      );
      await snapshots.prepare("k", base.chainId);
      await mounted(snapshots, "k", (merged) => {
        shell(merged, "chmod 600 same; chmod 644 same; rm d/one; mkdir -p n/m; touch n/m/f; echo >> etc/passwd");
        shell(merged, "rm -r z; mkdir -p z/y; touch z/y/w; chmod 711 d");
      });
      expect((await snapshots.changes("k")).map(({ Path, Kind }) => `${"CAD"[Kind]} ${Path}`)).toEqual([
        "C /d",
        "D /d/one",
        "C /etc",
        "C /etc/passwd",
        "A /n",
        "A /n/m",
        "A /n/m/f",
        "C /z",
        "C /z/y",
        "A /z/y/w",
        "D /z/y/x",
      ]);
    });

    test("commit gives a layer whose archive has the diffID, and ends the snapshot", async () => {
      await using place = newPlace();
      const { snapshots } = place;
      const base = await applyEntries(snapshots, undefined, ...baseEntries);
      await snapshots.prepare("k", base.chainId);
      await mounted(snapshots, "k", async (merged) => {
        shell(merged, "rm -r d; mkdir d; printf 1234 > d/new; ln d/new link; chown 5:6 d/new");
        await expect(snapshots.commit("k")).rejects.toThrow('The snapshot "k" is mounted');
      });
      const layer = await snapshots.commit("k");
      expect(layer).toMatchObject({ parent: base.chainId, sizeBytes: 4 });
      expect(sha256(await collect(snapshots.packLayer(layer?.chainId ?? "")))).toBe(layer?.diffId ?? "");
      expect(snapshots.keys()).toEqual([]);
      await snapshots.prepare("k", layer?.chainId, { hostFiles: false });
      await mounted(snapshots, "k", (merged) => {
        expect(list(merged)).toBe("./d ./d/new ./etc ./etc/passwd ./link ");
        expect(shell(merged, "stat -c '%u:%g %h' link")).toBe("5:6 2\n");
      });
    });

    test("commitCopy of a mounted snapshot gives the same layer as commit, and the snapshot goes on", async () => {
      await using place = newPlace();
      const { snapshots } = place;
      const base = await applyEntries(snapshots, undefined, ...baseEntries);
      await snapshots.prepare("k", base.chainId);
      const copy = await mounted(snapshots, "k", async (merged) => {
        shell(merged, "rm d/one; mkdir -p x/y; rm -r etc; mkdir etc; echo a > etc/b; touch -d @1.000000007 x");
        const layer = await snapshots.commitCopy("k");
        writeFileSync(join(merged, "later"), "");
        return layer;
      });
      expect(sha256(await collect(snapshots.packLayer(copy?.chainId ?? "")))).toBe(copy?.diffId ?? "");
      await mounted(snapshots, "k", (merged) => shell(merged, "rm later; touch -r etc/b ."));
      expect(await snapshots.commit("k")).toEqual(copy as Layer);
    });

    test("an applied layer of our own archive is the same layer again", async () => {
      await using place = newPlace();
      await using other = newPlace();
      const base = await applyEntries(place.snapshots, undefined, ...baseEntries);
      await applyEntries(other.snapshots, undefined, ...baseEntries);
      await place.snapshots.prepare("k", base.chainId);
      await mounted(place.snapshots, "k", (merged) =>
        shell(merged, "rm d/one; rm -r etc; mkdir etc; mknod n c 1 3; touch f"),
      );
      const layer = await place.snapshots.commit("k");
      const tar = await collect(place.snapshots.packLayer(layer?.chainId ?? ""));
      const again = await other.snapshots.apply(base.chainId, inChunks(tar), { diffId: layer?.diffId ?? "" });
      expect(again.chainId).toBe(layer?.chainId ?? "");
      expect(sha256(await collect(other.snapshots.packLayer(again.chainId)))).toBe(again.diffId);
    });

    test("stands on nothing, too: with an init layer, without one, and as a base", async () => {
      await using place = newPlace();
      const { snapshots } = place;
      await snapshots.prepare("with", undefined);
      await mounted(snapshots, "with", (merged) => expect(list(merged)).toContain("./etc/hosts "));
      await snapshots.prepare("scratch", undefined, { hostFiles: false });
      await mounted(snapshots, "scratch", async (merged) => {
        shell(merged, "printf 1 > only");
        await expect(snapshots.commit("scratch")).rejects.toThrow("is mounted");
      });
      const layer = await snapshots.commit("scratch");
      expect(layer).toMatchObject({ parent: undefined, sizeBytes: 1 });
      await snapshots.prepare("next", layer?.chainId, { hostFiles: false });
      await mounted(snapshots, "next", (merged) => expect(list(merged)).toBe("./only "));
    });

    test("a key is taken once, named by the grammar, and unknown ones are told", async () => {
      await using place = newPlace();
      const { snapshots } = place;
      await snapshots.prepare("k", undefined);
      await expect(snapshots.prepare("k", undefined)).rejects.toThrow('A snapshot "k" is there already');
      for (const key of ["", ".", "..", "a/b", "../x", "k-init", "l".repeat(65)]) {
        await expect(snapshots.prepare(key, undefined)).rejects.toThrow("cannot name a snapshot");
      }
      await expect(snapshots.prepare("q", `sha256:${"0".repeat(64)}`)).rejects.toThrow("No layer");
      expect(() => snapshots.mounts("unknown")).toThrow('No snapshot "unknown"');
      await expect(snapshots.commit("unknown")).rejects.toThrow('No snapshot "unknown"');
      expect(snapshots.keys()).toEqual(["k"]);
    });
  });
}
