// Tables and formats of lists, compared with what docker's CLI prints for the same answers.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import packageJson from "../../package.json" with { type: "json" };
import { displayPorts, ellipsis } from "../../src/cli/display.ts";
import { eventLine } from "../../src/cli/commands/events.ts";
import { alignColumns } from "../../src/cli/tabwriter.ts";
import { toTimestamp } from "../../src/cli/timestamps.ts";
import { vitrineVersion } from "../../src/common/index.ts";
import { type RecordingEngine, recordingEngine } from "../support/recording-engine.ts";

const hour = 3600;
const now = Math.floor(Date.now() / 1000);
const port = (PrivatePort: number, PublicPort?: number, IP?: string, Type = "tcp") => ({
  PrivatePort,
  Type,
  ...(PublicPort === undefined ? {} : { PublicPort }),
  ...(IP === undefined ? {} : { IP }),
});

const container = {
  Id: "0123456789ab".padEnd(64, "c"),
  Names: ["/brave_name", "/other/alias"],
  Image: "helloworld",
  ImageID: `sha256:${"d".repeat(64)}`,
  Command: "sh -c 'echo a very long command line'",
  Created: now - 5 * hour,
  Ports: [port(80, 4000, "0.0.0.0"), port(80, 4000, "::"), port(90), port(91), port(53, 53, "0.0.0.0", "udp")],
  Labels: { b: "2", a: "1" },
  State: "running",
  Status: "Up 5 hours",
  SizeRw: 1234,
  SizeRootFs: 5_678_901,
  HostConfig: { NetworkMode: "bridge" },
  NetworkSettings: { Networks: { bridge: {} } },
  Mounts: [
    {
      Type: "volume",
      Name: "e".repeat(64),
      Source: "/v",
      Destination: "/d",
      Driver: "local",
      Mode: "",
      RW: true,
      Propagation: "",
    },
  ],
};
const image = {
  Id: `sha256:${"a".repeat(64)}`,
  ParentId: "",
  RepoTags: ["user/app:latest", "user/app:v1"],
  RepoDigests: [`user/app@sha256:${"b".repeat(64)}`],
  Created: now - 50 * 24 * hour,
  Size: 12_345_678,
  SharedSize: -1,
  Labels: null,
  Containers: -1,
};
const answers = {
  "GET /containers/json": [
    container,
    { ...container, Id: "f".repeat(64), Names: ["/é_wide_名前"], Image: "a".repeat(64), Ports: [] },
  ],
  "GET /images/json": [
    image,
    { ...image, Id: `sha256:${"c".repeat(64)}`, RepoTags: [], RepoDigests: [], Created: now - 60 },
  ],
  "GET /images/x/history": [
    { Id: image.Id, Created: now - 90, CreatedBy: 'CMD ["sh"] '.repeat(8), Tags: null, Size: 0, Comment: "c" },
    { Id: "<missing>", Created: now - 3 * 24 * hour, CreatedBy: "ADD file", Tags: null, Size: 999_950, Comment: "" },
  ],
  "GET /volumes": {
    Volumes: [{ Name: "v1", Driver: "local", Mountpoint: "/m", Labels: { a: "b" }, Scope: "local", Options: null }],
    Warnings: null,
  },
  "GET /networks": [
    {
      Name: "bridge",
      Id: "9".repeat(64),
      Created: "2026-01-02T03:04:05.6Z",
      Scope: "local",
      Driver: "bridge",
      EnableIPv6: false,
      Internal: false,
      Labels: {},
    },
  ],
  "GET /containers/x/json": {
    Id: "x",
    Name: "/x",
    Config: {},
    NetworkSettings: { Ports: { "80/tcp": [{ HostIp: "0.0.0.0", HostPort: "4000" }], "90/tcp": null } },
  },
  "GET /containers/x/changes": [
    { Path: "/a", Kind: 0 },
    { Path: "/b", Kind: 1 },
    { Path: "/c", Kind: 2 },
  ],
  "GET /containers/x/top": {
    Titles: ["PID", "CMD"],
    Processes: [
      ["1", "sh -c x"],
      ["22", "sleep 1000"],
    ],
  },
};

const commands = [
  "ps -a",
  "ps --no-trunc",
  "ps -q",
  "ps -s",
  "ps --format json",
  "ps --format {{.ID}}:{{.Names}}:{{.Labels}}:{{.Mounts}}:{{.LocalVolumes}}:{{.Networks}}",
  'ps --format table\\t{{.Names}}\\t{{.Label"a"}}\\t{{.Ports}}',
  "ps --format {{upper.Names}}",
  "images",
  "images --digests",
  "images -q --no-trunc",
  "images --format {{.Repository}}@{{.Digest}}",
  "images --format {{.Foo}}",
  "images --format {{.Foo",
  "history x",
  "history --no-trunc x",
  "volume ls",
  "volume ls --format json",
  "network ls",
  "network ls --no-trunc -q",
  "port x",
  "port x 80",
  "port x 90/tcp",
  "diff x",
  "top x",
  "rm",
  "rename a",
  "ps extra",
  "ps -n abc",
  "ps --filter foo",
];

let engine: RecordingEngine;
beforeAll(async () => {
  engine = await recordingEngine(answers);
});
afterAll(() => engine[Symbol.asyncDispose]());

async function vitrine(
  line: string,
  host = engine.host,
): Promise<{ exitCode: number; stdout: string; stderr: string }> {
  const main = join(import.meta.dir, "..", "..", "src", "main.ts");
  const child = Bun.spawn([process.execPath, main, "-H", host, ...line.split(" ")], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, TZ: "UTC" },
  });
  const [stdout, stderr] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  return { exitCode: await child.exited, stdout, stderr };
}

describe("prints what docker prints", () => {
  test.each(commands)("%s", async (line) => {
    const [docker, own] = await Promise.all([engine.docker(...line.split(" ")), vitrine(line)]);
    expect(own.stdout).toBe(docker.stdout);
    expect(own.stderr).toBe(docker.stderr.replaceAll("docker", "vitrine"));
    expect(own.exitCode).toBe(docker.exitCode);
  });
});

test("an unknown command is refused with what was perhaps meant", async () => {
  const { exitCode, stderr } = await vitrine("imges");
  expect(exitCode).toBe(1);
  expect(stderr).toContain("unknown command: vitrine imges");
  expect(stderr).toContain("\timages\n");
});

test("an engine that does not answer is named, and run gives 125", async () => {
  const failed = await vitrine("ps", "unix:///nonexistent/x.sock");
  expect(failed).toEqual({
    exitCode: 1,
    stdout: "",
    stderr: "Cannot connect to the engine at unix:///nonexistent/x.sock. Is the daemon running?\n",
  });
  expect((await vitrine("run busybox", "unix:///nonexistent/x.sock")).exitCode).toBe(125);
});

test("neighbouring ports are joined to ranges", () => {
  expect(displayPorts([port(90), port(91), port(92), port(95)])).toBe("90-92/tcp, 95/tcp");
});

test("text is cut by columns, not by bytes", () => {
  expect(ellipsis("名前名前", 5)).toBe("名前…");
  expect(ellipsis("abc", 3)).toBe("abc");
});

test("columns are aligned over neighbouring lines only", () => {
  expect(alignColumns("a\tb\nlonger-than-ten\tc\nno tabs\nx\ty\n")).toBe(
    "a                 b\nlonger-than-ten   c\nno tabs\nx         y\n",
  );
});

test("times may be durations, dates and Unix seconds", () => {
  expect(toTimestamp("1700000000.5", "since")).toBe("1700000000.5");
  expect(toTimestamp("2026-01-02T03:04:05.25Z", "since")).toBe("1767323045.250000000");
  expect(Number(toTimestamp("10m", "since"))).toBeCloseTo(Date.now() / 1000 - 600, 0);
  expect(() => toTimestamp("soon", "since")).toThrow('invalid value for "since"');
});

test("an event is one line with its attributes sorted", () => {
  const event = {
    Type: "container",
    Action: "start",
    Actor: { ID: "1", Attributes: { b: "2", a: "1" } },
    scope: "local",
    time: 0,
    timeNano: 1e9,
  } as const;
  expect(eventLine(event)).toEndWith(" container start 1 (a=1, b=2)");
});

test("the version is the package's", () => {
  expect(vitrineVersion).toBe(packageJson.version);
});
