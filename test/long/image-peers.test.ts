// Images go between this engine and its peers with the same id. Each peer is a Debian package: skopeo, podman, docker.io.
import { describe, expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { collectBytes, collectMessages, inPieces, openImages, type ImageFixture } from "../support/image-fixture.ts";
import { newScratch, type Scratch } from "../support/scratch.ts";

function run(...command: string[]): string {
  const result = Bun.spawnSync(command, { stdin: "ignore" });
  if (result.exitCode !== 0) throw new Error(`${command.join(" ")}: ${result.stderr.toString()}`);
  return result.stdout.toString().trim();
}

async function loadFile({ images }: ImageFixture, path: string): Promise<string[]> {
  const messages = await collectMessages(images.load(inPieces(readFileSync(path), 65_536), { quiet: true }));
  return messages.map((message) => message.stream ?? "");
}

async function saveFile({ images }: ImageFixture, path: string, ...references: string[]): Promise<void> {
  writeFileSync(path, await collectBytes(await images.save(references)));
}

/** A small root file system as a tar, made by tar(1). */
function sampleTar(scratch: Scratch): string {
  const folder = join(scratch.path, "sample");
  mkdirSync(join(folder, "etc"), { recursive: true });
  writeFileSync(join(folder, "etc/name"), "sample\n", { mode: 0o600 });
  run("ln", join(folder, "etc/name"), join(folder, "etc/second"));
  const tar = join(scratch.path, "sample.tar");
  run("tar", "-C", folder, "-cf", tar, ".");
  return tar;
}

/** An image made here, of which a peer is given the archive. */
async function makeImage(fixture: ImageFixture): Promise<string> {
  await collectMessages(fixture.images.fromHost("peer/app:v1", ["true"]));
  return fixture.images.get("peer/app:v1").id;
}

describe("skopeo (Debian's package skopeo)", () => {
  test("reads both forms of a saved archive, and its copy of the layout loads with the same id", async () => {
    await using scratch = newScratch();
    using fixture = openImages(join(scratch.path, "a"));
    const id = await makeImage(fixture);
    const saved = join(scratch.path, "saved.tar");
    await saveFile(fixture, saved, "peer/app:v1");
    expect(run("skopeo", "inspect", "--raw", `docker-archive:${saved}:peer/app:v1`)).toContain(id);
    const copy = join(scratch.path, "copy.tar");
    run("skopeo", "copy", `oci-archive:${saved}:v1`, `oci-archive:${copy}:peer/app:v2`);
    using other = openImages(join(scratch.path, "b"));
    expect(await loadFile(other, copy)).toEqual(["Loaded image: peer/app:v2\n"]);
    expect(other.images.get("peer/app:v2").id).toBe(id);
  });
});

describe("podman (Debian's package podman)", () => {
  test("loads what was saved here, and what it saves loads here, with the same id", async () => {
    await using scratch = newScratch();
    const storage = [
      "--root",
      join(scratch.path, "r"),
      "--runroot",
      join(scratch.path, "u"),
      "--storage-driver",
      "vfs",
    ];
    const podman = (...words: string[]): string => run("podman", ...storage, ...words);
    using fixture = openImages(join(scratch.path, "a"));
    const id = await makeImage(fixture);
    const saved = join(scratch.path, "saved.tar");
    await saveFile(fixture, saved, "peer/app:v1");
    podman("load", "-i", saved);
    expect(podman("image", "inspect", "--format", "{{.Id}}", "peer/app:v1")).toBe(id.slice(7));

    podman("import", sampleTar(scratch), "localhost/sample:1");
    for (const format of ["docker-archive", "oci-archive"]) {
      const archive = join(scratch.path, `${format}.tar`);
      podman("save", "--format", format, "-o", archive, "localhost/sample:1");
      using other = openImages(join(scratch.path, format));
      expect(await loadFile(other, archive)).toEqual(["Loaded image: localhost/sample:1\n"]);
      const config = run("skopeo", "inspect", "--raw", `${format}:${archive}`);
      expect(config).toContain(other.images.get("localhost/sample:1").id);
    }
  });
});

/** A dockerd of the test's own, with no network and no table of the host's touched. */
async function startDockerd(scratch: Scratch): Promise<{ docker: (...words: string[]) => string } & AsyncDisposable> {
  const socket = `unix://${join(scratch.path, "d.sock")}`;
  const folder = (name: string): string => join(scratch.path, name);
  const server = Bun.spawn(
    [
      "dockerd",
      "--data-root",
      folder("d"),
      "--exec-root",
      folder("x"),
      "--pidfile",
      folder("d.pid"),
      "--host",
      socket,
    ].concat(["--bridge", "none", "--iptables=false", "--ip6tables=false", "--storage-driver", "vfs"]),
    { stdout: "ignore", stderr: "ignore", stdin: "ignore" },
  );
  const docker = (...words: string[]): string => run("docker", "--host", socket, ...words);
  while (Bun.spawnSync(["docker", "--host", socket, "version"]).exitCode !== 0) {
    if (server.exitCode !== null) throw new Error(`dockerd ended with ${server.exitCode}`);
    await Bun.sleep(100);
  }
  return {
    docker,
    async [Symbol.asyncDispose]() {
      server.kill("SIGTERM");
      await server.exited;
    },
  };
}

describe("dockerd (Debian's package docker.io)", () => {
  test("loads what was saved here, and what it saves loads here, with the same id", async () => {
    await using scratch = newScratch();
    await using peer = await startDockerd(scratch);
    using fixture = openImages(join(scratch.path, "a"));
    const id = await makeImage(fixture);
    const saved = join(scratch.path, "saved.tar");
    await saveFile(fixture, saved, "peer/app:v1");
    expect(peer.docker("load", "-i", saved)).toBe("Loaded image: peer/app:v1");
    expect(peer.docker("image", "inspect", "--format", "{{.Id}}", "peer/app:v1")).toBe(id);

    const made = peer.docker("import", "-c", "ENV A=1", sampleTar(scratch), "sample:1");
    const archive = join(scratch.path, "docker.tar");
    peer.docker("save", "-o", archive, "sample:1", "peer/app:v1");
    using other = openImages(join(scratch.path, "b"));
    expect((await loadFile(other, archive)).toSorted()).toEqual([
      "Loaded image: peer/app:v1\n",
      "Loaded image: sample:1\n",
    ]);
    expect(other.images.get("sample:1").id).toBe(made);
    expect(other.images.get("peer/app:v1").id).toBe(id);

    // Back again: the layer that dockerd packed keeps its diffID here.
    const back = join(scratch.path, "back.tar");
    await saveFile(other, back, "sample:1");
    peer.docker("rmi", "sample:1");
    expect(peer.docker("load", "-i", back)).toBe("Loaded image: sample:1");
    expect(peer.docker("image", "inspect", "--format", "{{.Id}}", "sample:1")).toBe(made);
  }, 60_000);
});
