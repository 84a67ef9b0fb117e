// Files in and out of containers, and what images and containers cost: with docker's command line and ours, whose rules are docker's.
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { chownSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { importBusybox } from "../support/busybox-image.ts";
import { ask, createContainer, startContainer, waitContainer } from "../support/engine-containers.ts";
import { runProgram, startTestEngine, vitrineCommand, type Outcome, type TestEngine } from "../support/test-engine.ts";

let engine: TestEngine;
const clients = ["vitrine", "docker"] as const;

beforeAll(async () => {
  engine = await startTestEngine();
  await importBusybox(engine, "busybox", (root) => {
    mkdirSync(join(root, "dir"));
    writeFileSync(join(root, "dir/old"), "old\n");
    symlinkSync("/dir", join(root, "link"));
    symlinkSync("dir/old", join(root, "filelink"));
  });
  writeFileSync(join(engine.scratch.path, "file"), "of the host\n");
  chownSync(join(engine.scratch.path, "file"), 1234, 5678);
}, 30_000);
afterAll(() => engine[Symbol.asyncDispose](), 30_000);
afterEach(async () => {
  const list = await ask<{ Id: string }[]>(engine, "GET", "/containers/json?all=1");
  for (const { Id } of list) await ask(engine, "DELETE", `/containers/${Id}?force=1&v=1`);
});

/** The lines that tar(1) shows of a stream: mode, owner, name. */
async function listingOf(command: string): Promise<string[]> {
  const { stdout } = await runProgram(["sh", "-c", `${command} | tar -tv --numeric-owner`], {
    DOCKER_HOST: `unix://${engine.socket}`,
  });
  return stdout
    .split("\n")
    .filter(Boolean)
    .map((line) => line.replace(/ +\d+ \d{4}-\S+ \S+ /, " "));
}

describe.each(clients)("%s cp", (client) => {
  const cp = (...words: string[]): Promise<Outcome> => engine[client]("cp", ...words);

  test("writes the stream of a file, a folder, its content, a link and what it leads to", async () => {
    await createContainer(engine, ["true"], { name: "box" });
    const stream = (await Promise.all(
      ["box:/dir/old", "box:/dir", "box:/dir/.", "box:/link", "box:/link/", "-L box:/link"].map((source) =>
        listingOf(`${vitrineCommand.join(" ")} cp ${source} -`),
      ),
    )) as string[][];
    expect(stream.map((lines) => lines.map((line) => line.replace(/^\S+ \d+\/\d+ /, "")))).toEqual([
      ["old"],
      ["dir/", "dir/old"],
      ["./", "./old"],
      ["link -> /dir"],
      ["link/", "link/old"],
      ["dir/", "dir/old"],
    ]);
  });

  test("keeps owners with -a, follows a link to a folder, and goes nowhere through a file", async () => {
    await createContainer(engine, ["true"], { name: "box" });
    const file = join(engine.scratch.path, "file");
    expect(await cp("-a", file, "box:/kept")).toMatchObject({ exitCode: 0 });
    expect(await cp(file, "box:/link/through")).toMatchObject({ exitCode: 0 });
    expect(await cp(file, "box:/dir/old/")).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining("no such directory"),
    });
    expect(await cp("box:/dir/old/", "-")).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining("not a directory"),
    });
    expect(await cp("box:/none", "-")).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining("Could not find the file /none in container box"),
    });
    const exported = await listingOf(`docker export box`);
    expect(exported.filter((line) => /kept|through/.test(line))).toEqual([
      "-rw-r--r-- 1234/5678 dir/through",
      "-rw-r--r-- 1234/5678 kept",
    ]);
    expect((await engine[client]("diff", "box")).stdout).toBe("C /dir\nA /dir/through\nA /kept\n");
  });
});

test.each(clients)(
  "%s cp through a symlink reaches a stopped container's volume, and a folder shows what is in it",
  async (client) => {
    const make = "ln -s /vol/deep /way; mkdir /vol/deep; echo in > /vol/deep/file";
    await waitContainer(engine, await startContainer(engine, make, { name: "box", Volumes: { "/vol": {} } }));
    const place = join(engine.scratch.path, client);
    mkdirSync(place);
    expect((await engine[client]("cp", "box:/way/file", `${place}/file`)).exitCode).toBe(0);
    expect((await engine[client]("cp", "box:/vol", place)).exitCode).toBe(0);
    const read = (path: string): Promise<string> => Bun.file(join(place, path)).text();
    expect([await read("file"), await read("vol/deep/file")]).toEqual(["in\n", "in\n"]);
    writeFileSync(join(place, "new"), "from outside\n");
    expect((await engine[client]("cp", join(place, "new"), "box:/way/")).exitCode).toBe(0);
    expect((await engine[client]("cp", "box:/vol/deep/new", `${place}/back`)).exitCode).toBe(0);
    expect(await read("back")).toBe("from outside\n");
    // The empty mount point is the container's own, what lies in the volume is not.
    const exported = await runProgram(["sh", "-c", `${vitrineCommand.join(" ")} export box | tar -t`], {
      DOCKER_HOST: `unix://${engine.socket}`,
    });
    expect(exported.stdout.split("\n").filter((line) => /^(vol|way)/.test(line))).toEqual(["vol/", "way"]);
    expect((await runProgram(["findmnt", "-rn", "-o", "TARGET"])).stdout).not.toContain(`${engine.scratch.path}/root`);
  },
);

describe("what it costs", () => {
  test("system df counts who uses an image, and names a container's image as ps does", async () => {
    await createContainer(engine, ["true"], { name: "one" });
    const id = await startContainer(engine, "echo 1234567 > /grown", { name: "two" });
    await waitContainer(engine, id);
    const usage = await ask<{
      LayersSize: number;
      Images: { Id: string; Containers: number; Size: number }[];
      Containers: { Names: string[]; Image: string; SizeRw: number }[];
    }>(engine, "GET", "/system/df");
    expect(usage.Images.map(({ Containers, Size }) => [Containers, Size])).toEqual([[2, usage.LayersSize]]);
    expect(usage.Containers.map(({ Names, Image, SizeRw }) => [Names[0], Image, SizeRw])).toEqual([
      ["/two", "busybox", 8],
      ["/one", "busybox", 0],
    ]);
    for (const client of clients) {
      const { stdout } = await engine[client]("system", "df", "-v");
      expect(stdout).toMatch(
        /^Images space usage:\n\nREPOSITORY +TAG +IMAGE ID +CREATED +SIZE +SHARED SIZE +UNIQUE SIZE +CONTAINERS\nbusybox .* 2\n/,
      );
      expect(stdout).toContain("CACHE ID   CACHE TYPE   SIZE");
    }
  });

  test.each(clients)(
    "%s system prune removes stopped containers, dangling images, and volumes when asked",
    async (client) => {
      await ask(engine, "POST", "/images/busybox/tag?repo=kept");
      await createContainer(engine, ["true"], { name: "gone", Volumes: { "/v": {} } });
      const running = await startContainer(engine, ["sleep", "100"], { name: "stays" });
      const made = await ask<{ Id: string }>(engine, "POST", `/commit?container=stays&changes=ENV%20A%3D${client}`);
      const refused = await engine[client]("system", "prune", "-f", "--volumes", "--filter", "until=1s");
      expect(refused.exitCode).toBe(1);
      expect(refused.stderr).toContain('ERROR: The "until" filter is not supported with "--volumes"');
      const none = await engine[client]("system", "prune", "-f", "--filter", "until=1h");
      expect(none).toMatchObject({ exitCode: 0, stdout: "Total reclaimed space: 0B\n" });
      const { stdout } = await engine[client]("system", "prune", "-f", "--volumes");
      expect(stdout).toMatch(
        /^Deleted Containers:\n[0-9a-f]{64}\n\nDeleted Volumes:\n[0-9a-f]{64}\n\nDeleted Images:\ndeleted: /,
      );
      expect(stdout).toContain(`deleted: ${made.Id}`);
      expect(stdout).toMatch(/\nTotal reclaimed space: 0B\n$/);
      const left = await ask<{ Id: string }[]>(engine, "GET", "/containers/json?all=1");
      expect(left.map(({ Id }) => Id)).toEqual([running]);
      expect((await engine.vitrine("images", "-q", "kept")).stdout).not.toBe("");
    },
  );
});

describe("vitrine image ls", () => {
  test("--tree draws each image under all its names with the platform that it is for, newest first", async () => {
    await ask(engine, "POST", "/images/busybox/tag?repo=tree&tag=v1");
    await createContainer(engine, ["true"], { name: "one" });
    await ask(engine, "POST", "/commit?container=one&repo=newer&changes=ENV%20TREE%3D1");
    const images = await ask<{ Id: string; RepoTags: string[] }[]>(engine, "GET", "/images/json");
    const idOf = (name: string): string =>
      images
        .find(({ RepoTags }) => RepoTags.includes(name))
        ?.Id.replace("sha256:", "")
        .slice(0, 12) ?? "";
    const lines = (await engine.must("image", "ls", "--tree")).split("\n").map((line) => line.replaceAll(/ +/g, " "));
    const size = /\S+MB/.exec(lines.join(" "))?.[0];
    expect(lines[0]).toBe("IMAGE ID DISK USAGE CONTENT SIZE EXTRA");
    const { os, architecture } = { os: "linux", architecture: process.arch === "x64" ? "amd64" : process.arch };
    expect(lines.slice(1, 3)).toEqual([
      `newer:latest ${idOf("newer:latest")} ${size} 0B`,
      `└─ ${os}/${architecture} ${idOf("newer:latest")} ${size} 0B`,
    ]);
    const last = lines.findIndex((line) => line.startsWith("tree:v1"));
    expect(lines.slice(last)).toEqual([
      `tree:v1 ${idOf("tree:v1")} ${size} 0B U`,
      `└─ ${os}/${architecture} ${idOf("tree:v1")} ${size} 0B U`,
    ]);
    const both = await engine.vitrine("image", "ls", "--tree", "-q");
    expect(both).toMatchObject({ exitCode: 1, stderr: "--quiet is not yet supported with --tree\n" });
  });

  test("filters by reference, label, age and name, and --digests adds a column", async () => {
    await createContainer(engine, ["true"], { name: "one", Labels: { shelf: "top" } });
    await ask(engine, "POST", "/commit?container=one&repo=shelved&tag=v1");
    const names = async (...filters: string[]): Promise<string[]> => {
      const words = filters.flatMap((filter) => ["--filter", filter]);
      const text = await engine.must("image", "ls", ...words, "--format", "{{.Repository}}:{{.Tag}}");
      return text.split("\n").filter(Boolean);
    };
    expect(await names("label=shelf")).toEqual(["shelved:v1"]);
    expect(await names("label=shelf=low")).toEqual([]);
    expect(await names("reference=shel*:v?")).toEqual(["shelved:v1"]);
    expect(await names("since=busybox", "reference=shelved")).toEqual(["shelved:v1"]);
    expect(await names("before=shelved:v1", "reference=busybox")).toEqual(["busybox:latest"]);
    expect(await engine.must("image", "ls", "--digests", "shelved")).toMatch(
      /^REPOSITORY +TAG +DIGEST +IMAGE ID +CREATED +SIZE\nshelved +v1 +<none> +[0-9a-f]{12} /,
    );
  });
});

describe("rmi and layers", () => {
  test("rmi takes an id prefix, refuses what a container uses, and forces what can be", async () => {
    const id = await createContainer(engine, ["true"], { name: "one", Env: ["RMI=1"] });
    const { Id } = await ask<{ Id: string }>(engine, "POST", `/commit?container=${id}&repo=taken`);
    await ask(engine, "DELETE", `/containers/${id}`);
    await createContainer(engine, ["true"], { name: "user", Image: "taken" });
    const short = Id.replace("sha256:", "").slice(0, 9);
    for (const name of ["taken", short]) {
      const refused = await engine.vitrine("rmi", name);
      expect(refused.exitCode).toBe(1);
      expect(refused.stderr).toMatch(/conflict: unable to (remove|delete) .*must (be )?force.*container/);
    }
    expect(await engine.must("rmi", "-f", short)).toBe(`Untagged: taken:latest\nDeleted: ${Id}`);
    expect((await engine.vitrine("rmi", short)).stderr).toContain(`No such image: ${short}`);
  });

  test("vitrine layers lists rw, init and ro branches with directory, size and instruction", async () => {
    const id = await startContainer(engine, "echo 1234567 > /grown", { name: "one" });
    await waitContainer(engine, id);
    await ask(engine, "POST", `/commit?container=${id}&repo=layered`);
    const rows = async (name: string): Promise<string[][]> =>
      (await engine.must("layers", name)).split("\n").map((line) => line.split(/ {2,}/).filter(Boolean));
    const [head, top, base, ...rest] = await rows("layered");
    expect([head, rest]).toEqual([["BRANCH", "SIZE", "DIRECTORY", "INSTRUCTION"], []]);
    expect(top).toEqual(["ro", "8B", expect.stringContaining(engine.root), "sh -c echo 1234567 > /grown"]);
    expect(await Bun.file(join(top?.[2] ?? "", "grown")).text()).toBe("1234567\n");
    const own = await rows("one");
    expect(own.slice(1).map(([branch, ...cells]) => [branch, cells.find((cell) => cell.startsWith("/"))])).toEqual([
      ["rw", join(engine.root, "overlay2", id, "diff")],
      ["init", join(engine.root, "overlay2", `${id}-init`, "diff")],
      ["ro", base?.[2]],
    ]);
    expect(own[1]?.[1]).toBe("8B");
  });
});

test("events tell of images, copies and prunes as dockerd does", async () => {
  const since = (Date.now() / 1000).toFixed(3);
  await createContainer(engine, ["true"], { name: "one" });
  await engine.must("tag", "busybox", "events:v1");
  await engine.must("rmi", "events:v1");
  await engine.must("commit", "-c", "ENV E=1", "one");
  const archive = join(engine.scratch.path, "saved.tar");
  await engine.must("save", "-o", archive, "busybox");
  await engine.must("load", "-q", "-i", archive);
  await engine.must("cp", join(engine.scratch.path, "file"), "one:/file");
  await engine.must("cp", "one:/file", join(engine.scratch.path, "back"));
  await engine.must("export", "-o", join(engine.scratch.path, "exported.tar"), "one");
  await engine.must("image", "prune", "-f");
  await engine.must("container", "prune", "-f");
  const until = (Date.now() / 1000 + 0.001).toFixed(3);
  const format = "{{.Type}} {{.Action}} {{.Actor.Attributes.name}}{{.Actor.Attributes.reclaimed}}";
  const { stdout } = await engine.docker("events", "--since", since, "--until", until, "--format", format);
  const lines = stdout
    .replaceAll(/sha256:[0-9a-f]{64}/g, "ID")
    .replaceAll("<no value>", "")
    .split("\n")
    .filter(Boolean);
  // What the test before did may fall into the same millisecond.
  expect(lines.slice(lines.indexOf("container create one"))).toEqual([
    "container create one",
    "image tag events:v1",
    "image untag ID",
    "container commit one",
    "image save ID",
    ...Array.from({ length: lines.filter((line) => line === "image load ID").length }, () => "image load ID"),
    "container extract-to-dir one",
    "container archive-path one",
    "container export one",
    "image delete ID",
    "image prune 0",
    "container destroy one",
    expect.stringMatching(/^container prune \d+$/),
  ]);
});
