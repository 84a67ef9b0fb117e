import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Paths } from "../../src/common/index.ts";
import { mount, unmount } from "../../src/kernel/index.ts";
import { createOverlay2, maxLayers } from "../../src/snapshot/index.ts";
import {
  applyEntries,
  baseEntries,
  describeSnapshotter,
  mounted,
  type SnapshotterPlace,
} from "../contract/snapshotter.suite.ts";
import { shell } from "../support/raw-tar.ts";
import { newScratch } from "../support/scratch.ts";

type Overlay2 = ReturnType<typeof createOverlay2>;

interface Place extends SnapshotterPlace {
  readonly paths: Paths;
  readonly db: Database;
  readonly snapshots: Overlay2;
  /** Another start of the engine on the same root. */
  restart(): Overlay2;
}

function newPlace(): Place {
  const scratch = newScratch();
  const paths = new Paths(join(scratch.path, "root"), join(scratch.path, "run"));
  mkdirSync(paths.root);
  const db = new Database(paths.database);
  // As the engine opens it.
  db.run("PRAGMA journal_mode = WAL");
  db.run("PRAGMA synchronous = NORMAL");
  db.run("PRAGMA foreign_keys = ON");
  const runState = new Database(paths.database);
  const restart = (): Overlay2 => createOverlay2({ paths, db, runState });
  const snapshots = restart();
  return {
    paths,
    db,
    snapshots,
    restart,
    async [Symbol.asyncDispose]() {
      await snapshots.settled();
      await scratch[Symbol.asyncDispose]();
    },
  };
}

describeSnapshotter("overlay2", newPlace);

const names = (place: Place, directory: string): string[] => readdirSync(join(place.paths.overlay2, directory)).sort();
const text = (place: Place, file: string): string => readFileSync(join(place.paths.overlay2, file), "utf8");

test("directories, links and lower files have Docker's names", async () => {
  await using place = newPlace();
  const { snapshots } = place;
  const base = await applyEntries(snapshots, undefined, ...baseEntries);
  const top = await applyEntries(snapshots, base.chainId, { name: "x", body: "" });
  await snapshots.prepare("c", top.chainId);
  expect(names(place, base.directoryId)).toEqual(["diff", "link"]);
  expect(names(place, top.directoryId)).toEqual(["diff", "link", "lower", "work"]);
  expect(names(place, "c-init")).toEqual(["diff", "link", "lower", "work"]);
  expect(names(place, "c")).toEqual(["diff", "link", "lower", "merged", "work"]);
  expect(names(place, "c/diff")).toEqual([]);
  expect(names(place, "c-init/diff")).toEqual([".dockerenv", "dev", "etc", "proc", "sys"]);
  const link = (id: string): string => text(place, `${id}/link`);
  for (const id of [base.directoryId, top.directoryId, "c-init", "c"]) {
    expect(link(id)).toMatch(/^[A-Z2-7]{26}$/);
    expect(readlinkSync(join(place.paths.overlay2, "l", link(id)))).toBe(`../${id}/diff`);
  }
  expect(text(place, `${top.directoryId}/lower`)).toBe(`l/${link(base.directoryId)}`);
  expect(text(place, "c/lower")).toBe(
    [link("c-init"), link(top.directoryId), link(base.directoryId)].map((one) => `l/${one}`).join(":"),
  );
  const diff = (id: string): string => join(place.paths.overlay2, id, "diff");
  expect(snapshots.graphDriver("c")).toEqual({
    Name: "overlay2",
    Data: {
      LowerDir: ["c-init", top.directoryId, base.directoryId].map(diff).join(":"),
      MergedDir: join(place.paths.overlay2, "c/merged"),
      UpperDir: diff("c"),
      WorkDir: join(place.paths.overlay2, "c/work"),
    },
  });
  expect(Object.keys(snapshots.graphDriver(base.chainId).Data ?? {})).toEqual(["MergedDir", "UpperDir", "WorkDir"]);
});

test("the mount names its layers by short links, as findmnt shows, and the working directory is back afterwards", async () => {
  await using place = newPlace();
  const { snapshots } = place;
  const base = await applyEntries(snapshots, undefined, ...baseEntries);
  await snapshots.prepare("c", base.chainId);
  const before = process.cwd();
  await mounted(snapshots, "c", (merged) => {
    const options = shell("/", `findmnt -n -o OPTIONS ${merged}`);
    expect(options).toContain(`lowerdir=${text(place, "c/lower")},upperdir=c/diff,workdir=c/work`);
    expect(shell("/", "pwd")).toBe("/\n");
    expect(process.cwd()).toBe(before);
    expect(names(place, "c/work")).toEqual(["work"]);
    // The kernel's own forms in the upper directory.
    shell(merged, "rm d/one; rm -r etc; mkdir etc; mv d/two d/moved");
    const upper = snapshots.diffDirectory("c");
    expect(shell(upper, "stat -c '%F %t:%T' d/one d/two")).toBe(
      "character special file 0:0\ncharacter special file 0:0\n",
    );
    expect(shell(merged, "mv d e; find e | sort | tr '\\n' ' '")).toBe("e e/moved ");
    expect(shell(upper, "getfattr -R -d -m trusted.overlay.redirect . 2>/dev/null || true")).not.toContain("redirect");
  });
});

test("a directory of a lower layer answers EXDEV to a rename, one of its own is renamed, and deletions take the kernel's forms", async () => {
  await using place = newPlace();
  const { snapshots } = place;
  const base = await applyEntries(snapshots, undefined, ...baseEntries, { name: "d/deep/file", body: "f" });
  await snapshots.prepare("c", base.chainId, { hostFiles: false });
  await mounted(snapshots, "c", (merged) => {
    const upper = snapshots.diffDirectory("c");
    expect(() => renameSync(join(merged, "d"), join(merged, "e"))).toThrow("EXDEV");
    expect(() => renameSync(join(merged, "d/deep"), join(merged, "d/other"))).toThrow("EXDEV");
    expect(readdirSync(upper)).toEqual([]);
    mkdirSync(join(merged, "own"));
    renameSync(join(merged, "own"), join(merged, "new"));
    renameSync(join(merged, "d/one"), join(merged, "new/one"));
    expect(shell(upper, "find . -mindepth 1 -printf '%P %y\\n' | LC_ALL=C sort")).toBe(
      "d d\nd/one c\nnew d\nnew/one f\n",
    );
    shell(merged, "rm -r d; mkdir d; touch d/fresh");
    expect(
      shell(upper, "find d -printf '%P %y\\n' | LC_ALL=C sort; getfattr --only-values -n trusted.overlay.opaque d"),
    ).toBe(" d\nfresh f\ny");
    // A file over a directory, and a directory over a file: the newer hides the older whole.
    shell(merged, "rm -r etc; echo > etc; rm -r new; mkdir -p new/one/two");
    expect(shell(merged, "find . -mindepth 1 | LC_ALL=C sort | paste -sd' '")).toBe(
      "./d ./d/fresh ./etc ./new ./new/one ./new/one/two\n",
    );
  });
  expect((await snapshots.changes("c")).map(({ Path, Kind }) => `${"CAD"[Kind]} ${Path}`)).toEqual([
    "C /d",
    "D /d/deep",
    "A /d/fresh",
    "D /d/one",
    "D /d/two",
    "C /etc",
    "A /new",
    "A /new/one",
    "A /new/one/two",
  ]);
});

test(`an image of ${maxLayers} layers mounts, one layer more is refused by name`, async () => {
  await using place = newPlace();
  const { snapshots, db } = place;
  const base = await applyEntries(snapshots, undefined, ...baseEntries);
  // Directories are cheap, an unpack with its sync is not: the chain's middle is made by hand.
  let parent = base.chainId;
  for (let count = 2; count <= maxLayers; count++) {
    const id = count.toString(16).padStart(64, "0");
    const link = `L${id.slice(-25).toUpperCase()}`
      .replaceAll("0", "O")
      .replaceAll("1", "I")
      .replaceAll("8", "W")
      .replaceAll("9", "X");
    mkdirSync(join(place.paths.overlay2, id, "diff"), { recursive: true });
    writeFileSync(join(place.paths.overlay2, id, "diff", `file${count}`), "");
    writeFileSync(join(place.paths.overlay2, id, "link"), link);
    shell(place.paths.overlay2, `ln -s ../${id}/diff l/${link}`);
    db.run("INSERT INTO layers VALUES (?, ?, ?, ?, 0, ?)", [
      `sha256:${id}`,
      `sha256:${id}`,
      parent,
      id,
      "2026-01-01T00:00:00Z",
    ]);
    parent = `sha256:${id}`;
  }
  const key = "k".repeat(64);
  await snapshots.prepare(key, parent);
  await mounted(snapshots, key, (merged) => {
    expect(readdirSync(merged).filter((name) => name.startsWith("file"))).toHaveLength(maxLayers - 1);
    shell(merged, "touch new");
  });
  expect(snapshots.chain(parent)).toHaveLength(maxLayers);
  const message = `Cannot stack ${maxLayers + 1} layers: ${maxLayers} is the limit`;
  await expect(applyEntries(snapshots, parent, { name: "x", body: "" })).rejects.toThrow(message);
  await expect(snapshots.commitCopy(key)).rejects.toThrow(message);
  await expect(snapshots.commit(key)).rejects.toThrow(message);
  // The limit is the kernel's: a mount with one layer more is cut off in the middle of its options.
  const [overlay] = snapshots.mounts(key);
  if (!overlay) throw new Error("An overlay snapshot has no mount");
  const more = overlay.options.map((option) => option.replace("lowerdir=", `lowerdir=${text(place, `${key}/link`)}:`));
  expect(() => mount({ ...overlay, options: more })).toThrow("argument list too long");
  const raw = Bun.spawnSync(["mount", "-i", "-t", "overlay", "-o", more.join(","), "overlay", overlay.target], {
    cwd: place.paths.overlay2,
    env: { ...process.env, LIBMOUNT_FORCE_MOUNT2: "always" },
  });
  expect(raw.exitCode).not.toBe(0);
});

describe("a crash", () => {
  test("while a layer is unpacked, a snapshot is prepared or removed leaves nothing behind the next start", async () => {
    await using place = newPlace();
    const base = await applyEntries(place.snapshots, undefined, ...baseEntries);
    await place.snapshots.prepare("live", base.chainId);
    const before = shell(place.paths.overlay2, "find . | sort");
    const half = "f".repeat(64);
    shell(
      place.paths.overlay2,
      `mkdir -p ${half}/diff gone/diff gone/merged gone-init/diff empty; printf ${"A".repeat(26)} > ${half}/link
       ln -s ../${half}/diff l/${"A".repeat(26)}; ln -s ../nowhere/diff l/${"B".repeat(26)}; ln -s /etc l/${"C".repeat(26)}
       ln -s ../live/diff l/${"D".repeat(26)}; mkdir -p ../trash/old/x`,
    );
    // A monitor that died with its daemon left this mounted.
    mount({ type: "tmpfs", source: "tmpfs", target: join(place.paths.overlay2, "gone/merged"), options: [] });
    const next = place.restart();
    await next.settled();
    expect(shell(place.paths.overlay2, "find . | sort")).toBe(before);
    expect(readdirSync(place.paths.trash)).toEqual([]);
    expect(shell("/", `grep -c ${place.paths.root} /proc/mounts || true`)).toBe("0\n");
    expect([next.keys(), next.layers()]).toEqual([["live"], [base]]);
    await mounted(next, "live", (merged) => expect(existsSync(join(merged, "d/one"))).toBe(true));
  });

  test("between a commit's rename and its record ends the snapshot, not the start", async () => {
    await using place = newPlace();
    await place.snapshots.prepare("k", undefined);
    shell(place.paths.overlay2, `mkdir ${"e".repeat(64)}; mv k/diff ${"e".repeat(64)}/diff`);
    const next = place.restart();
    await next.settled();
    expect(next.keys()).toEqual([]);
    expect(readdirSync(place.paths.overlay2)).toEqual(["l"]);
    expect(names(place, "l")).toEqual([]);
    await next.prepare("k", undefined);
  });

  test("SIGKILL at any moment of apply, commit and remove: the next start has whole layers only", async () => {
    await using place = newPlace();
    const script = join(import.meta.dir, "../fixtures/snapshot-until-killed.ts");
    for (const delayMs of [0, 5, 15, 40]) {
      const child = Bun.spawn([process.execPath, script, place.paths.root], { stdout: "pipe", stderr: "inherit" });
      // The first line says that it is at work; from there the moment is left to chance.
      const reader = child.stdout.getReader();
      await reader.read();
      await Bun.sleep(delayMs);
      child.kill("SIGKILL");
      await child.exited;
      const db = new Database(place.paths.database);
      const next = createOverlay2({ paths: place.paths, db });
      await next.settled();
      const known = [
        ...next.layers().map((layer) => layer.directoryId),
        ...next.keys().flatMap((key) => [key, `${key}-init`]),
      ];
      expect(readdirSync(place.paths.overlay2).sort()).toEqual([...known, "l"].sort());
      expect(names(place, "l")).toEqual(known.map((id) => text(place, `${id}/link`)).sort());
      for (const layer of next.layers()) {
        const key = `check-${delayMs}`;
        await next.prepare(key, layer.chainId);
        await mounted(next, key, (merged) => expect(shell(merged, "cat whole | wc -c")).toBe("100000\n"));
        await next.remove(key);
      }
      await next.settled();
      db.close();
    }
  });
});

test("removing a mounted snapshot unmounts it first", async () => {
  await using place = newPlace();
  await place.snapshots.prepare("k", undefined);
  for (const one of place.snapshots.mounts("k")) mount(one);
  await place.snapshots.remove("k");
  await place.snapshots.settled();
  expect(shell("/", `grep -c ${place.paths.root} /proc/mounts || true`)).toBe("0\n");
  expect(readdirSync(place.paths.overlay2)).toEqual(["l"]);
  expect(() => unmount(join(place.paths.overlay2, "k/merged"))).toThrow("no such file");
});

test("info tells the backing file system", async () => {
  await using place = newPlace();
  const status = new Map(place.snapshots.status());
  expect([...status.keys()].slice(0, 2)).toEqual(["Backing Filesystem", "Supports d_type"]);
  expect(status.get("Native Overlay Diff")).toBe("true");
});
