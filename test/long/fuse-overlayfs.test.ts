// The storage driver fuse-overlayfs, which needs its program: the contract of all drivers, and what is its own.
import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { mount, unmount } from "../../src/kernel/index.ts";
import { applyEntries, baseEntries, describeSnapshotter, mounted } from "../contract/snapshotter.suite.ts";
import { everyday } from "../support/everyday.ts";
import { collect, shell } from "../support/raw-tar.ts";
import { newScratch } from "../support/scratch.ts";
import { newSnapshotPlace } from "../support/snapshot-place.ts";
import { runProgram, startTestEngine, waitFor } from "../support/test-engine.ts";

const driver = "fuse-overlayfs";
const newPlace = (): ReturnType<typeof newSnapshotPlace> => newSnapshotPlace(driver);

describeSnapshotter(driver, newPlace);

/** The process that serves a mount, by the target on its command line. */
async function serverOf(target: string): Promise<number | undefined> {
  const { stdout } = await runProgram(["ps", "-eo", "pid=,args="]);
  const line = stdout.split("\n").find((one) => one.includes("fuse-overlayfs") && one.endsWith(` ${target}`));
  return line === undefined ? undefined : Number(line.trim().split(" ")[0]);
}

describe("fuse-overlayfs: its own", () => {
  test("findmnt sees its file system, which ends with the mount; info tells that diffs are not native", async () => {
    await using place = newPlace();
    const { snapshots } = place;
    const base = await applyEntries(snapshots, undefined, ...baseEntries);
    await snapshots.prepare("k", base.chainId);
    const merged = snapshots.mergedDirectory("k");
    await mounted(snapshots, "k", async () => {
      expect(shell("/", `findmnt -n -o FSTYPE ${merged}`)).toBe("fuse.fuse-overlayfs\n");
      const options = shell("/", `findmnt -n -o OPTIONS ${merged}`).trim().split(",");
      expect(options).toEqual(expect.arrayContaining(["allow_other", "default_permissions"]));
      expect(options.filter((one) => ["nodev", "nosuid"].includes(one))).toEqual([]);
      expect(await serverOf(merged)).toBeGreaterThan(1);
    });
    await waitFor("its process to end", async () => (await serverOf(merged)) === undefined);
    expect(snapshots.status().slice(0, 3)).toEqual([
      ["Backing Filesystem", expect.any(String)],
      ["Supports d_type", "true"],
      ["Native Overlay Diff", "false"],
    ]);
  });

  test("its marks are in no archive and no list of changes, and nobody can make a file that looks like one", async () => {
    await using place = newPlace();
    const { snapshots } = place;
    const base = await applyEntries(snapshots, undefined, ...baseEntries);
    await snapshots.prepare("k", base.chainId, { hostFiles: false });
    const changes = "A /e\nA /e/deep\nA /e/deep/f\nC /etc\nA /etc/x\nD /etc/passwd\nC /d\nD /d/one\nC /d/two\n";
    await mounted(snapshots, "k", async (merged) => {
      shell(merged, "mkdir -p e/deep; touch e/deep/f; rm -r etc; mkdir etc; touch etc/x; rm d/one; echo 3 >> d/two");
      shell(merged, "mkdir short; rmdir short; chmod 755 etc");
      expect(() => writeFileSync(join(merged, "d/.wh.two"), "")).toThrow("EINVAL");
      // The program keeps marks and attributes of its own beside the kernel's forms.
      expect(shell(snapshots.diffDirectory("k"), "find . -name '.wh.*' | grep -c . || true")).not.toBe("0\n");
      const listed = (await snapshots.changes("k")).map(({ Path, Kind }) => `${"CAD"[Kind]} ${Path}`);
      expect(listed.sort()).toEqual(changes.trimEnd().split("\n").sort());
    });
    const layer = await snapshots.commit("k");
    const file = join(place.paths.root, "layer.tar");
    writeFileSync(file, await collect(snapshots.packLayer(layer?.chainId ?? "")));
    expect(shell("/", `tar -tf ${file} | LC_ALL=C sort | tr '\\n' ' '`)).toBe(
      "d/ d/.wh.one d/two e/ e/deep/ e/deep/f etc/ etc/.wh..wh..opq etc/x ",
    );
    expect(readFileSync(file, "latin1")).not.toContain("fuseoverlayfs");
  });

  test("refuses to rename a directory of a lower layer, as the kernel does, and mv(1) copies it", async () => {
    await using place = newPlace();
    const { snapshots } = place;
    const base = await applyEntries(snapshots, undefined, ...baseEntries);
    await snapshots.prepare("k", base.chainId, { hostFiles: false });
    await mounted(snapshots, "k", (merged) => {
      expect(() => renameSync(join(merged, "d"), join(merged, "moved"))).toThrow("EXDEV");
      shell(merged, "mv d moved");
    });
    expect((await snapshots.changes("k")).map(({ Path, Kind }) => `${"CAD"[Kind]} ${Path}`)).toEqual([
      "D /d",
      "A /moved",
      "A /moved/one",
      "A /moved/two",
    ]);
  });

  test("what is written shows in the layer at once, though the file is still open", async () => {
    await using place = newPlace();
    const { snapshots } = place;
    const base = await applyEntries(snapshots, undefined, ...baseEntries);
    await snapshots.prepare("k", base.chainId, { hostFiles: false });
    await mounted(snapshots, "k", async (merged) => {
      const writer = Bun.spawn(["sh", "-c", "exec 3>new; echo now >&3; echo ready; exec sleep 100"], {
        cwd: merged,
        stdout: "pipe",
      });
      await writer.stdout.getReader().read();
      const copy = await snapshots.commitCopy("k");
      writer.kill("SIGKILL");
      await writer.exited;
      expect(readFileSync(join(snapshots.layerDirectory(copy?.chainId ?? ""), "new"), "utf8")).toBe("now\n");
    });
  });

  test("when its process is killed the files answer nothing, and a removal or another mount goes on as ever", async () => {
    await using place = newPlace();
    const { snapshots } = place;
    const base = await applyEntries(snapshots, undefined, ...baseEntries);
    for (const key of ["again", "gone"]) {
      await snapshots.prepare(key, base.chainId, { hostFiles: false });
      for (const one of snapshots.mounts(key)) mount(one);
      const merged = snapshots.mergedDirectory(key);
      process.kill((await serverOf(merged)) ?? 0, "SIGKILL");
      await waitFor("the mount to be dead", () => {
        try {
          readdirSync(merged);
          return false;
        } catch (error) {
          return (error as { code?: string }).code === "ENOTCONN";
        }
      });
    }
    await expect(snapshots.commit("again")).rejects.toThrow("is mounted");
    unmount(snapshots.mergedDirectory("again"));
    await mounted(snapshots, "again", (merged) => expect(shell(merged, "cat d/two")).toBe("22"));
    await snapshots.remove("gone");
    await snapshots.settled();
    expect(shell("/", `grep -c '${place.paths.root}' /proc/mounts || true`)).toBe("0\n");
  });
});

test("build, run, exec, diff, restart and remove on fuse-overlayfs", async () => {
  const options = ["--storage-driver", driver];
  await using engine = await startTestEngine(options);
  await everyday(engine, driver, options);
  await waitFor("its processes to end", async () => {
    const { stdout } = await runProgram(["ps", "-eo", "args="]);
    return !stdout.split("\n").some((line) => /^\S*fuse-overlayfs -o /.test(line) && line.includes(engine.root));
  });
}, 60_000);

test("the script that explain prints starts the same container, by the same program", async () => {
  const options = ["--storage-driver", driver];
  await using engine = await startTestEngine(options);
  await using scratch = newScratch();
  const say = "cat /proc/mounts | grep ' / '; echo written > /file";
  const id = await engine.must("create", "--net", "none", "vitrine/base", "sh", "-c", say);
  await engine.must("start", "-a", id);
  const merged = join(engine.root, driver, id, "merged");
  await waitFor("the container to be unmounted", () => !readFileSync("/proc/mounts", "utf8").includes(merged));
  const script = join(scratch.path, "start.sh");
  writeFileSync(script, await engine.must("explain", "--script", id));
  const run = await runProgram(["bash", script]);
  expect(run.stdout).toContain("fuse.fuse-overlayfs");
  expect(readFileSync(join(engine.root, driver, id, "diff/file"), "utf8")).toBe("written\n");
  await waitFor("its process to end", async () => (await serverOf(merged)) === undefined);
}, 60_000);

test("a container's files outlive its daemon, since its monitor serves them, and explain says what does", async () => {
  const options = ["--storage-driver", driver];
  await using engine = await startTestEngine(options);
  const id = await engine.must("run", "-d", "vitrine/base", "sh", "-c", "while :; do date > /now; sleep 0.1; done");
  const merged = join(engine.root, driver, id, "merged");
  const server = await serverOf(merged);
  expect(await engine.must("explain", id)).toMatch(/monitor +mount-program .*fuse-overlayfs/);
  await engine.stop("SIGKILL");
  const before = readFileSync(join(engine.root, driver, id, "diff/now"), "utf8");
  await waitFor("the container to go on writing", () => readFileSync(join(merged, "now"), "utf8") !== before);
  expect(await serverOf(merged)).toBe(server ?? 0);
  await engine.start(options);
  await engine.must("rm", "-f", id);
  await waitFor("its process to end", async () => (await serverOf(merged)) === undefined);
}, 60_000);
