import { describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { extractTree, packTree, statInRoot } from "../../src/archive/index.ts";
import { collect, describeTree, inChunks, rawTar, shell, type RawEntry } from "../support/raw-tar.ts";
import { newScratch, type Scratch } from "../support/scratch.ts";

/** A root like a container's, with links that lead astray where they are followed outside of it. */
function newPlace(): Scratch & { readonly root: string } {
  const scratch = newScratch();
  const root = join(scratch.path, "root");
  mkdirSync(root);
  shell(
    root,
    "mkdir -p app/sub etc tmp; printf hi > app/f; chmod 4755 app/f; ln -s /app abs; ln -s ../../../../../etc app/up; ln -s loop loop; ln -s /gone dangling; touch -d @1.5 app/f",
  );
  return Object.assign(scratch, { root });
}

async function names(stream: AsyncIterable<Uint8Array>): Promise<string[]> {
  const child = Bun.spawn(["tar", "-t"], { stdin: await collect(stream), stdout: "pipe" });
  return (await new Response(child.stdout).text()).split("\n").slice(0, -1);
}

const put = (root: string, path: string, ...entries: RawEntry[]): Promise<unknown> =>
  extractTree(inChunks(rawTar(...entries)), root, path);

describe("packTree", () => {
  test("the top entry is the base name, the root's is a dot, and another or none may be given", async () => {
    await using place = newPlace();
    expect(await names(packTree(place.root, "/app"))).toEqual(["app/", "app/f", "app/sub/", "app/up"]);
    expect(await names(packTree(place.root, "app/f"))).toEqual(["f"]);
    expect((await names(packTree(place.root, "/"))).slice(0, 3)).toEqual(["./", "./abs", "./app/"]);
    expect(await names(packTree(place.root, "app/."))).toEqual(["./", "./f", "./sub/", "./up"]);
    expect(await names(packTree(place.root, "/app", { name: "x" }))).toEqual(["x/", "x/f", "x/sub/", "x/up"]);
    const exclude = (path: string): boolean => path === "sub" || path === "up";
    expect(await names(packTree(place.root, "/app", { name: "", exclude }))).toEqual(["f"]);
  });

  test("a symlink is packed as one, or followed inside the root when asked", async () => {
    await using place = newPlace();
    expect(await names(packTree(place.root, "abs"))).toEqual(["abs"]);
    expect(await names(packTree(place.root, "abs/"))).toContain("abs/f");
    expect(await names(packTree(place.root, "abs", { followLink: true }))).toContain("abs/f");
    expect(await names(packTree(place.root, "abs/up/../app/f"))).toEqual(["f"]);
    await expect(names(packTree(place.root, "dangling/"))).rejects.toThrow("no such file");
    await expect(names(packTree(place.root, "loop/"))).rejects.toThrow("too many symlinks");
  });

  test("a name is resolved in the root even where the host has a file of that name", async () => {
    await using place = newPlace();
    writeFileSync(join(place.root, "etc/passwd"), "inside");
    expect((await collect(packTree(place.root, "app/up/passwd"))).subarray(1536, 1542).toString()).toBe("inside");
    expect((await collect(packTree(place.root, "../../../etc/passwd"))).subarray(1536, 1542).toString()).toBe("inside");
    shell(place.root, "ln -s /proc/self/root/etc/passwd magic");
    await expect(collect(packTree(place.root, "magic/."))).rejects.toThrow("no such file");
  });
});

describe("extractTree", () => {
  test("what packTree gave comes back the same elsewhere in the root", async () => {
    await using place = newPlace();
    await extractTree(packTree(place.root, "/app"), place.root, "/tmp");
    expect(describeTree(join(place.root, "tmp/app"))).toBe(describeTree(join(place.root, "app")));
  });

  test("names count from the directory, links resolve in the root, and neither leaves it", async () => {
    await using place = newPlace();
    await put(
      place.root,
      "abs",
      { name: "new", body: "1" },
      { name: "up/two", body: "2" },
      { name: "/three", body: "3" },
    );
    expect(shell(place.root, "cat app/new etc/two app/three")).toBe("123");
    await expect(put(place.root, "app", { name: "../x", body: "1" })).rejects.toThrow("leaves the directory");
    await expect(put(place.root, "app", { name: "l", flag: "1", link: "../../etc/passwd" })).rejects.toThrow(
      "leaves the",
    );
    await expect(put(place.root, "missing", { name: "x" })).rejects.toThrow("no such file or directory");
    await expect(put(place.root, "app/f", { name: "x" })).rejects.toThrow("not a directory");
  });

  test("owners are replaced when asked, whiteouts are plain names, and the directory itself stays as it was", async () => {
    await using place = newPlace();
    const tar = rawTar(
      { name: "./", flag: "5", mode: 0o700, uid: 9 },
      { name: "f2", body: "x", uid: 7, gid: 8, mode: 0o6755 },
      { name: ".wh.app", body: "" },
    );
    await extractTree(inChunks(tar), place.root, "tmp", { chown: { uid: 1234, gid: 5678 } });
    expect(shell(place.root, "stat -c '%n %U:%G %u:%g %a %F' tmp/f2 tmp/.wh.app; stat -c '%u %a' tmp")).toContain(
      "1234:5678 6755 regular file",
    );
    expect(shell(place.root, "stat -c '%u %a' tmp; stat -c %F tmp/.wh.app")).toBe("0 755\nregular empty file\n");
  });

  test("an archive may end after an entry where its end mark is optional, and never inside one", async () => {
    await using place = newPlace();
    const tar = rawTar({ name: "whole", body: "x".repeat(700) }, { name: "cut", body: "y".repeat(700) });
    const into = (bytes: Uint8Array): Promise<unknown> =>
      extractTree(inChunks(bytes), place.root, "tmp", { endMark: "optional" });
    await expect(extractTree(inChunks(tar.subarray(0, 1536)), place.root, "tmp")).rejects.toThrow("truncated");
    await into(tar.subarray(0, 1536));
    await into(tar.subarray(0, 1536 + 512 + 700));
    for (const length of [1536 + 100, 1536 + 512, 1536 + 512 + 699]) {
      await expect(into(tar.subarray(0, length))).rejects.toThrow("truncated");
    }
  });

  test("a directory is replaced by a file only where that is allowed", async () => {
    await using place = newPlace();
    const file = rawTar({ name: "sub", body: "x" });
    const directory = rawTar({ name: "f/", flag: "5", mode: 0o755 });
    const strict = { noOverwriteDirNonDir: true };
    await expect(extractTree(inChunks(file), place.root, "app", strict)).rejects.toThrow("cannot overwrite directory");
    await expect(extractTree(inChunks(directory), place.root, "app", strict)).rejects.toThrow(
      "cannot overwrite non-dir",
    );
    await extractTree(inChunks(file), place.root, "app");
    await extractTree(inChunks(directory), place.root, "app");
    expect(shell(place.root, "stat -c %F app/sub app/f")).toBe("regular file\ndirectory\n");
  });
});

describe("statInRoot", () => {
  test("tells Go's mode bits, the time to the nanosecond, and where a link leads in the root", async () => {
    await using place = newPlace();
    expect(statInRoot(place.root, "abs/f")).toEqual({
      name: "f",
      size: 2,
      mode: 0o755 + 2 ** 23,
      mtime: "1970-01-01T00:00:01.5Z",
      linkTarget: "",
    });
    expect(statInRoot(place.root, "/app/up")).toMatchObject({ name: "up", mode: 2 ** 27 + 0o777, linkTarget: "/etc" });
    expect(statInRoot(place.root, "dangling").linkTarget).toBe("/gone");
    expect(statInRoot(place.root, "/")).toMatchObject({ name: "/", mode: 2 ** 31 + 0o755 });
    expect(statInRoot(place.root, "abs/").mode).toBe(2 ** 31 + 0o755);
    expect(() => statInRoot(place.root, "nothing")).toThrow('Cannot find "nothing": no such file or directory');
  });
});
