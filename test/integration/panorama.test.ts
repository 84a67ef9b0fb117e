// Every value of the picture, against what the kernel and the disk say.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Panorama } from "../../src/spec/index.ts";
import { runProgram, startTestEngine, waitFor, type TestEngine } from "../support/test-engine.ts";

let engine: TestEngine;
let id: string;
const port = 45_000 + (process.pid % 1000);

beforeAll(async () => {
  engine = await startTestEngine();
  await engine.must("build", "-q", "-t", "helloworld", "examples/helloworld");
  const limits = ["-m", "200m", "--cpu-quota", "50000", "--pids-limit", "64", "--cpuset-cpus", "0"];
  const shared = [
    "-v",
    "data:/data",
    "-v",
    `${engine.scratch.path}:/host:ro`,
    "-p",
    `${port}:80`,
    "-p",
    `127.0.0.1:${port}:81/udp`,
  ];
  id = await engine.must("run", "-d", "--name", "seen", ...limits, ...shared, "helloworld");
  await waitFor("the page", async () => (await runProgram(["curl", "-sf", `localhost:${port}`])).exitCode === 0);
  await engine.must("exec", "seen", "sh", "-c", "mkdir /own; printf 12345 > /own/file; rm /app/built.txt");
}, 60_000);

afterAll(async () => {
  await engine[Symbol.asyncDispose]();
}, 60_000);

async function panoramaOf(name: string): Promise<Panorama> {
  const response = await engine.api("GET", `/vitrine/containers/${name}/panorama`);
  if (!response.ok) throw new Error(await response.text());
  return (await response.json()) as Panorama;
}

const text = (path: string): string => readFileSync(path, "utf8").trim();
const inodeOf = (path: string): number => statSync(path).ino;

/** Sizes of the files and symlinks below a directory, each counted once, as `SizeRw` and history count them. */
async function sizeOf(directory: string): Promise<number> {
  const { stdout } = await runProgram(["find", directory, "!", "-type", "d", "-printf", "%i %s\n"]);
  return [...new Set(stdout.split("\n"))].reduce((sum, line) => sum + Number(line.split(" ")[1] ?? 0), 0);
}

/** upperdir and lowerdirs of the mount at `merged`, as findmnt has them, with short links followed. */
async function branchesOf(container: string): Promise<{ upper: string; lower: string[] }> {
  const overlays = join(engine.root, "overlay2");
  const { stdout } = await runProgram([
    "findmnt",
    "-n",
    "-o",
    "OPTIONS",
    "--mountpoint",
    join(overlays, container, "merged"),
  ]);
  const option = (name: string): string => new RegExp(`(?:^|,)${name}=([^,\n]*)`).exec(stdout)?.[1] ?? "";
  const follow = (link: string): string => resolve(overlays, "l", readlinkSync(join(overlays, link)));
  return { upper: resolve(overlays, option("upperdir")), lower: option("lowerdir").split(":").map(follow) };
}

describe("a running container with a volume, a published port and limits", () => {
  test("its process and namespaces are those of /proc", async () => {
    const { process: seen, container } = await panoramaOf("seen");
    const pid = seen?.pid ?? 0;
    expect(container.State.Pid).toBe(pid);
    expect(text(`/proc/${pid}/status`)).toMatch(new RegExp(`^NSpid:\t${pid}\t1$`, "m"));
    expect((await runProgram(["ps", "-o", "args=", "-p", String(pid)])).stdout.trim()).toBe(seen?.command ?? "");
    expect(seen?.uid).toBe(statSync(`/proc/${pid}`).uid);
    const kinds = Object.keys(seen?.namespaces ?? {});
    expect(kinds.sort()).toEqual(["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"]);
    for (const kind of kinds) {
      const inode = inodeOf(`/proc/${pid}/ns/${kind}`);
      expect({ kind, ...seen?.namespaces[kind] }).toEqual({
        kind,
        inode,
        sharedWithHost: inode === inodeOf(`/proc/self/ns/${kind}`),
      });
    }
  });

  test("its group and each value in it are those of the files", async () => {
    // Frozen, nothing in it counts on while it is compared.
    await engine.must("pause", "seen");
    try {
      const { cgroup, process: seen } = await panoramaOf("seen");
      const directories = Object.entries(cgroup?.directories ?? {});
      const groups = text(`/proc/${seen?.pid}/cgroup`)
        .split("\n")
        .map((line) => line.split(":"));
      expect(directories.length).toBeGreaterThan(0);
      for (const [controller, directory] of directories) {
        expect(text(join(directory, "cgroup.procs")).split("\n")).toContain(String(seen?.pid));
        const [, , path = "?"] =
          groups.find(([, names = ""]) => names.replace("name=", "").split(",").includes(controller)) ??
          groups.at(-1) ??
          [];
        expect(directory.endsWith(path)).toBe(true);
      }
      const values = Object.entries(cgroup?.values ?? {});
      const filesOf = (name: string): string[] =>
        directories.map(([, directory]) => join(directory, name)).filter((file) => existsSync(file));
      expect(values.filter(([name]) => filesOf(name).length === 0)).toEqual([]);
      // A hybrid machine has cpu.stat twice; and the kernel may settle a counter of a group that stands still between two looks.
      await waitFor("every value to be that of its file", async () => {
        const now = Object.entries((await panoramaOf("seen")).cgroup?.values ?? {});
        return (
          now.length === values.length && now.every(([name, value]) => filesOf(name).map(text).includes(value.trim()))
        );
      });
      const held = Object.fromEntries(values);
      expect(held["memory.limit_in_bytes"] ?? held["memory.max"]).toBe(String(200 * 1024 * 1024));
      expect(held["cpu.cfs_quota_us"] ?? held["cpu.max"]?.split(" ")[0]).toBe("50000");
      expect(held["pids.max"]).toBe("64");
      expect(held["cpuset.cpus"]).toBe("0");
    } finally {
      await engine.must("unpause", "seen");
    }
  });

  test("its layers are those that findmnt lists, with their sizes", async () => {
    const { readWriteLayer, initLayer, imageLayers, imageReferences } = await panoramaOf("seen");
    const { upper, lower } = await branchesOf(id);
    expect(readWriteLayer.directory).toBe(upper);
    expect([initLayer.directory, ...imageLayers.map((layer) => layer.directory)]).toEqual(lower);
    expect(readWriteLayer.sizeBytes).toBe(await sizeOf(upper));
    expect(readWriteLayer.sizeBytes).toBe(5);
    for (const layer of imageLayers) expect(layer.sizeBytes).toBe(await sizeOf(layer.directory));
    const [image] = JSON.parse(await engine.must("image", "inspect", "helloworld"));
    expect(imageLayers.map((layer) => layer.diffId)).toEqual(image.RootFS.Layers.toReversed());
    expect(imageReferences).toEqual(["helloworld:latest"]);
    const history = await engine.must("history", "--no-trunc", "--format", "{{.CreatedBy}}", "helloworld");
    const wrote = history.split("\n").filter((line) => !/#\(nop\)  (CMD|ENV|EXPOSE)/.test(line));
    expect(imageLayers.map((layer) => layer.instruction)).toEqual(wrote);
    expect(existsSync(join(imageLayers[0]?.directory ?? "", "app/built.txt"))).toBe(true);
  });

  test("its volumes are mounted where it says, from where it says", async () => {
    const { container, readWriteLayer } = await panoramaOf("seen");
    const pid = container.State.Pid;
    const mounts = text(`/proc/${pid}/mountinfo`)
      .split("\n")
      .map((line) => line.split(" "));
    expect([...readWriteLayer.mountPoints].sort()).toEqual(["/data", "/host"]);
    for (const { Destination, Source, RW } of container.Mounts) {
      const mount = mounts.find((fields) => fields[4] === Destination);
      expect(mount?.[5]?.split(",")[0]).toBe(RW ? "rw" : "ro");
      expect(inodeOf(`/proc/${pid}/root${Destination}`)).toBe(inodeOf(Source));
    }
    // The mount point is an empty directory of the layers, also while it is mounted upon.
    expect(readdirSync(join(readWriteLayer.directory, "data"))).toEqual([]);
  });

  test("its address and ports are those of its interface and of the firewall", async () => {
    const { container } = await panoramaOf("seen");
    const { Networks, Ports } = container.NetworkSettings;
    const { stdout } = await runProgram([
      "nsenter",
      `--net=/proc/${container.State.Pid}/ns/net`,
      "ip",
      "-j",
      "addr",
      "show",
      "eth0",
    ]);
    const [link] = JSON.parse(stdout) as {
      address: string;
      addr_info: { family: string; local: string; prefixlen: number }[];
    }[];
    const address = link?.addr_info.find(({ family }) => family === "inet");
    const bridge = Object.values(Networks ?? {})[0];
    expect(bridge).toMatchObject({
      IPAddress: address?.local,
      IPPrefixLen: address?.prefixlen,
      MacAddress: link?.address,
    });
    expect(Ports?.["80/tcp"]).toEqual([{ HostIp: "0.0.0.0", HostPort: String(port) }]);
    expect(Ports?.["81/udp"]).toEqual([{ HostIp: "127.0.0.1", HostPort: String(port) }]);
    const { stdout: rules } = await runProgram(["nft", "list", "table", "ip", engine.instance]);
    expect(rules).toContain(`tcp . ${port} : ${address?.local} . 80`);
  });

  test("drawn in the terminal and as SVG it holds all of that", async () => {
    const seen = await panoramaOf("seen");
    const drawing = await engine.must("panorama", "seen");
    const svg = join(engine.scratch.path, "seen.svg");
    await engine.must("panorama", "seen", "--svg", svg);
    const shown = text(svg).replace(
      /&(amp|lt|gt|quot);/g,
      (_, name) => ({ amp: "&", lt: "<", gt: ">", quot: '"' })[name as "amp"] ?? "",
    );
    const facts = [
      String(seen.process?.pid),
      ...Object.values(seen.process?.namespaces ?? {}).map(({ inode }) => String(inode)),
      seen.readWriteLayer.directory,
      seen.initLayer.directory,
      ...seen.imageLayers.flatMap((layer) => [layer.directory, layer.instruction]),
      seen.cgroup?.values["pids.max"] ?? "?",
      `0.0.0.0:${port}`,
      "/data",
    ];
    for (const fact of facts) {
      expect(drawing).toContain(fact);
      expect(shown).toContain(fact);
    }
    const widths = new Set(drawing.split("\n").map((line) => Bun.stringWidth(line)));
    expect(widths.size).toBe(1);
    if (!Bun.which("rsvg-convert")) return;
    const rendered = await runProgram(["rsvg-convert", "-o", join(engine.scratch.path, "seen.png"), svg]);
    expect(rendered).toEqual({ stdout: "", stderr: "", exitCode: 0 });
  });
});

test("a stopped container has its layers, and neither process nor group", async () => {
  const before = await panoramaOf("seen");
  await engine.must("stop", "-t", "5", "seen");
  const after = await panoramaOf("seen");
  expect(after.process).toBeNull();
  expect(after.cgroup).toBeNull();
  expect(after.container.State).toMatchObject({ Status: "exited", Pid: 0, ExitCode: 0 });
  expect(after.container.NetworkSettings.Ports ?? {}).toEqual({});
  expect(after.readWriteLayer).toEqual(before.readWriteLayer);
  expect(after.imageLayers).toEqual(before.imageLayers);
  expect(Object.values(before.cgroup?.directories ?? {}).filter((path) => existsSync(path))).toEqual([]);
  expect(await engine.must("panorama", "seen")).toContain("exit code 0");
});

test("a container that was only created is drawn, also when its image was removed by force", async () => {
  await engine.must("create", "--name", "made", "helloworld");
  await engine.must("rmi", "-f", "helloworld");
  const made = await panoramaOf("made");
  expect(made.process).toBeNull();
  expect(made.imageReferences).toEqual([]);
  expect(made.imageLayers.length).toBe(5);
  expect(await engine.must("panorama", "made")).toContain("made");
});

test("what is no container is told by its name", async () => {
  const outcome = await engine.vitrine("panorama", "nobody");
  expect(outcome.exitCode).toBe(1);
  expect(outcome.stderr).toBe("Error response from daemon: No such container: nobody\n");
});
