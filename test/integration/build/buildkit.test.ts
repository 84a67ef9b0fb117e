import { expect, test } from "bun:test";
import { readdirSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { GrpcFailure, PeerControl, PeerSession, peerBuild, upgraded } from "../../support/buildkit-peer.ts";
import { contextIn, failureOf } from "../../support/buildkit-context.ts";
import { busyboxEngine } from "../../support/busybox-engine.ts";
import { newScratch } from "../../support/scratch.ts";
import { WireReader } from "../../support/protobuf-wire.ts";
import { runProgram, waitFor } from "../../support/test-engine.ts";

const engine = busyboxEngine();

test("a client that drives its build through the gateway gets an image, its progress and its name", async () => {
  await using scratch = newScratch();
  const folders = contextIn(scratch.path, {
    Dockerfile: "FROM busybox\nCOPY sub /in\nRUN cat /in/b && echo done-it\nCMD cat /in/b\n",
    "sub/b": "from the client\n",
  });
  symlinkSync("b", join(scratch.path, "sub/link"));
  const built = await peerBuild(engine.socket, { folders, exporter: { name: "peer:1,peer:2" } });
  expect(built.response["image.name"]).toBe("docker.io/library/peer:1,docker.io/library/peer:2");
  expect(built.response["containerimage.config.digest"]).toMatch(/^sha256:[0-9a-f]{64}$/);
  expect(built.output).toContain("from the client\n");
  expect(built.output).toContain("done-it\n");
  expect(built.vertices.map(({ name }) => name).join("\n")).toContain("RUN cat /in/b && echo done-it");
  expect(built.vertices.every(({ error }) => error === "")).toBe(true);
  expect(await engine.must("run", "--rm", "peer:2", "cat", "/in/link")).toBe("from the client");
});

test("a client that names the Dockerfile's frontend itself gets the same", async () => {
  await using scratch = newScratch();
  const folders = contextIn(scratch.path, { Dockerfile: "FROM busybox\nRUN echo direct > /d\n" });
  const built = await peerBuild(engine.socket, { folders, direct: true, exporter: { name: "direct:1" } });
  expect(built.response["image.name"]).toBe("docker.io/library/direct:1");
  expect(await engine.must("run", "--rm", "direct:1", "cat", "/d")).toBe("direct");
});

test("a failed command ends the build with its exit code, and its vertex says so", async () => {
  await using scratch = newScratch();
  const folders = contextIn(scratch.path, { Dockerfile: "FROM busybox\nRUN echo seen; exit 7\n" });
  const failure = await failureOf(peerBuild(engine.socket, { folders }));
  expect(failure.message).toBe('process "/bin/sh -c echo seen; exit 7" did not complete successfully: exit code: 7');
  expect(failure.code).toBe(2);
  const digest = expect.stringMatching(/^sha256:[0-9a-f]{64}$/);
  expect(failure.details.map(({ type, value }) => [type.split("/").at(-1), value])).toEqual([
    ["errdefs.Vertex+json", { digest }],
    [
      "errdefs.Source+json",
      {
        info: { filename: "Dockerfile", data: btoa("FROM busybox\nRUN echo seen; exit 7\n"), language: "Dockerfile" },
        ranges: [{ start: { line: 2 }, end: { line: 2 } }],
      },
    ],
  ]);
});

test("a Dockerfile that cannot be read is shown to the client by its lines, unless too many stand above them", async () => {
  await using scratch = newScratch();
  const failure = async (above: number): Promise<GrpcFailure> => {
    const text = `FROM busybox\n${"# long\n".repeat(above)}COPYY a b\n`;
    const found = await failureOf(peerBuild(engine.socket, { folders: contextIn(scratch.path, { Dockerfile: text }) }));
    expect(found.message).toContain("unknown instruction: COPYY (did you mean COPY?)");
    expect(found.message).not.toContain("\n");
    return found;
  };
  const { details } = await failure(5000);
  const [source] = details.map(({ value }) => value as { info: { data: string }; ranges: unknown });
  expect(source?.ranges).toEqual([{ start: { line: 5002 }, end: { line: 5002 } }]);
  const lines = atob(source?.info.data ?? "").split("\n");
  expect([lines[0], lines[5000], lines[5001]]).toEqual(["", "# long", "COPYY a b"]);
  expect((await failure(50_000)).details).toEqual([]);
});

test("files that are as they were are not asked for again; changed, new and deleted ones are followed", async () => {
  await using scratch = newScratch();
  const folders = contextIn(scratch.path, {
    Dockerfile:
      "FROM busybox\nCOPY data /data\nRUN cd /data && find . -type f | sort && cat $(find . -type f | sort)\n",
    "data/a": "one\n",
    "data/deep/b": "two\n",
    "data/gone/c": "three\n",
  });
  const requests: string[][] = [];
  const build = async (): Promise<string> => {
    let session: PeerSession | undefined;
    const sharedKey = `stat-cache-${scratch.path}`;
    const { output } = await peerBuild(engine.socket, { folders, sharedKey, onSession: (one) => (session = one) });
    requests.push((session?.requested ?? []).filter((path) => path.startsWith("data/")).toSorted());
    return output;
  };
  await build();
  expect([...new Set(requests[0])]).toEqual(["data/a", "data/deep/b", "data/gone/c"]);
  await build();
  expect(requests[1]).toEqual([]);
  writeFileSync(join(scratch.path, "data/a"), "uno\n");
  utimesSync(join(scratch.path, "data/a"), new Date(), new Date(Date.now() + 5000));
  rmSync(join(scratch.path, "data/gone"), { recursive: true });
  writeFileSync(join(scratch.path, "data/new"), "four\n");
  const output = await build();
  expect([...new Set(requests[2])]).toEqual(["data/a", "data/new"]);
  expect(output).toContain("./a\n./deep/b\n./new\n");
  expect(output).toContain("uno\ntwo\nfour\n");
});

test("a client's path that climbs out, comes out of order or changes while it is read ends the build, and nothing is written outside", async () => {
  await using scratch = newScratch();
  const folders = contextIn(scratch.path, { Dockerfile: "FROM busybox\nCOPY f /\n", f: "content" });
  const forged = (path: string, lie: { path?: string; size?: number }): Promise<GrpcFailure> =>
    failureOf(peerBuild(engine.socket, { folders, forge: (one) => (one === path ? lie : undefined) }));
  const before = readdirSync(engine.root).toSorted();
  expect((await forged("f", { path: "../escaped" })).message).toContain("climb out");
  expect((await forged("f", { path: "/etc/escaped" })).message).toContain("climb out");
  expect((await forged("f", { path: "A" })).message).toContain("out of order");
  expect((await forged("f", { size: 3 })).message).toContain("changed while it was read");
  expect((await forged("f", { size: 300 })).message).toContain("changed while it was read");
  expect(readdirSync(engine.root).toSorted()).toEqual(before);
});

test("a symlink of the client that leads out of its folder is only a symlink here", async () => {
  await using scratch = newScratch();
  const folders = contextIn(scratch.path, { Dockerfile: "FROM busybox\nCOPY d /d\nRUN readlink /d/out\n", "d/x": "" });
  symlinkSync("/etc/hostname", join(scratch.path, "d/out"));
  const { output } = await peerBuild(engine.socket, { folders });
  expect(output).toContain("/etc/hostname\n");
});

test("a result goes to the client as a folder, as a tar, and as an archive that docker loads", async () => {
  await using scratch = newScratch();
  const folders = contextIn(scratch.path, {
    Dockerfile: "FROM scratch\nCOPY data /data\n",
    "data/deep/file": "content\n",
    "data/big": "x".repeat(3_000_000),
  });
  const output = async (exporterType: string, takes: "file" | "folder"): Promise<PeerSession["output"]> => {
    let session: PeerSession | undefined;
    const exporter = exporterType === "docker" ? { name: "sent:1" } : {};
    await peerBuild(engine.socket, { folders, exporterType, exporter, takes, onSession: (one) => (session = one) });
    if (!session) throw new Error("There was no session");
    return session.output;
  };
  const { folder } = await output("local", "folder");
  expect([...folder.keys()].toSorted()).toEqual(["data/big", "data/deep/file"]);
  expect(folder.get("data/deep/file")).toBe("content\n");
  expect(folder.get("data/big")).toBe("x".repeat(3_000_000));
  const tar = join(scratch.path, "out.tar");
  writeFileSync(tar, (await output("tar", "file")).file);
  expect((await runProgram(["tar", "xOf", tar, "data/deep/file"])).stdout).toBe("content\n");
  writeFileSync(tar, (await output("docker", "file")).file);
  expect(await engine.must("load", "-i", tar)).toContain("Loaded image: sent:1");
});

test("a client that drives its build looks into what it got, and not beyond", async () => {
  await using scratch = newScratch();
  const folders = contextIn(scratch.path, { Dockerfile: "FROM scratch\nCOPY in /in\n", "in/file": "0123456789" });
  symlinkSync("/../../../../etc/hostname", join(scratch.path, "in/out"));
  const seen = await peerBuild(engine.socket, {
    folders,
    look: async (call) => ({
      stat: (await call("StatFile", [[2, "in/file"]])).message(1)?.integer(5),
      part: (
        await call("ReadFile", [
          [2, "/in/file"],
          [
            3,
            [
              [1, 2],
              [2, 3],
            ],
          ],
        ])
      ).text(1),
      names: (await call("ReadDir", [[2, "in"]])).messages(1).map((one) => one.text(1)),
      beyond: await failureOf(call("ReadFile", [[2, "in/out"]])),
    }),
  });
  expect(seen.looked).toMatchObject({ stat: 10, part: "234", names: ["file", "out"], beyond: { code: 5 } });
});

test("a client that offers no place for the output is told so", async () => {
  await using scratch = newScratch();
  const folders = contextIn(scratch.path, { Dockerfile: "FROM busybox\n" });
  const failure = await failureOf(peerBuild(engine.socket, { folders, exporterType: "local" }));
  expect(failure.message).toContain("does not offer a folder for the build's output");
});

test("what is cached is listed and pruned, and builds are in the history", async () => {
  await using scratch = newScratch();
  const folders = contextIn(scratch.path, { Dockerfile: "FROM busybox\nRUN echo kept > /kept\n" });
  await peerBuild(engine.socket, { folders });
  using calls = await PeerControl.open(engine.socket);
  const control = "/moby.buildkit.v1.Control";
  expect((await calls.one(`${control}/DiskUsage`, [])).messages(1).length).toBeGreaterThan(0);
  const history = await calls.call(`${control}/ListenBuildHistory`, [[3, true]]);
  expect(history.length).toBeGreaterThan(0);
  const ref = history.at(-1)?.message(2)?.text(1) ?? "";
  await calls.one(`${control}/UpdateBuildHistory`, [
    [1, ref],
    [3, true],
  ]);
  expect(
    await calls.call(`${control}/ListenBuildHistory`, [
      [2, ref],
      [3, true],
    ]),
  ).toEqual([]);
  await calls.call(`${control}/Prune`, [[2, true]]);
  expect((await calls.one(`${control}/DiskUsage`, [])).messages(1)).toEqual([]);
  expect(readdirSync(join(engine.root, "build-contexts"))).toEqual([]);
});

test("a client that gives up ends the command of its build", async () => {
  await using scratch = newScratch();
  const folders = contextIn(scratch.path, { Dockerfile: "FROM busybox\nRUN echo up && sleep 5353\n" });
  const leave = new AbortController();
  const running = async (): Promise<boolean> => (await runProgram(["pgrep", "-f", "^sleep 5353$"])).stdout !== "";
  const build = peerBuild(engine.socket, { folders, signal: leave.signal, direct: true });
  const failed = failureOf(build);
  await waitFor("the command", running);
  leave.abort();
  await failed;
  await waitFor("the command to be gone", async () => !(await running()));
});

test("an older client builds by POST /build with its session: records of progress, the image's id, and a cancel by the build's id", async () => {
  await using scratch = newScratch();
  const folders = contextIn(scratch.path, {
    Dockerfile: "FROM busybox\nRUN echo recorded\n",
    Slow: "FROM busybox\nRUN echo long && sleep 6464\n",
  });
  using session = await PeerSession.open(engine.socket, { folders });
  const build = async (query: string): Promise<Record<string, unknown>[]> => {
    const response = await engine.api("POST", `/build?version=2&remote=client-session&session=${session.id}&${query}`);
    const lines = (await response.text()).trim().split("\n");
    return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  };
  const messages = await build("t=older:1&nocache=1");
  const records = messages
    .filter(({ id }) => id === "moby.buildkit.trace")
    .map(({ aux }) => Buffer.from(String(aux), "base64"));
  const printed = records.flatMap((record) => new WireReader(record).messages(3).map((log) => log.text(4))).join("");
  expect(printed).toContain("recorded\n");
  const id = (messages.find((message) => message["id"] === "moby.image.id")?.["aux"] as { ID?: string } | undefined)
    ?.ID;
  expect(await engine.must("image", "inspect", "--format", "{{.Id}}", "older:1")).toBe(id ?? "none");
  const running = async (): Promise<boolean> => (await runProgram(["pgrep", "-f", "^sleep 6464$"])).stdout !== "";
  const slow = build("dockerfile=Slow&buildid=slow-one");
  await waitFor("the command", running);
  expect((await engine.api("POST", "/build/cancel?id=slow-one")).status).toBe(200);
  expect((await slow).at(-1)?.["error"]).toBeString();
  await waitFor("the command to be gone", async () => !(await running()));
  expect((await engine.api("POST", "/build/cancel?id=slow-one")).status).toBe(404);
});

test("what is not built is refused by name", async () => {
  await using scratch = newScratch();
  const folders = contextIn(scratch.path, { Dockerfile: "FROM busybox\n" });
  const refused = async (options: Partial<Parameters<typeof peerBuild>[1]>): Promise<string> => {
    const failure = await failureOf(peerBuild(engine.socket, { folders, ...options }));
    expect(failure.code).toBe(12);
    return failure.message;
  };
  expect(await refused({ exporterType: "nonsense" })).toContain('exporter "nonsense"');
  expect(await refused({ frontendOptions: { nonsense: "1" } })).toContain('"nonsense"');
});

test("a client that asks for checks gets them as data and as text, and no image", async () => {
  await using scratch = newScratch();
  const folders = contextIn(scratch.path, {
    Dockerfile: "FROM busybox AS Base\nCOPY secret $nope/\n",
    ".dockerignore": "secret\n",
  });
  let metadata: Record<string, string> = {};
  const frontendOptions = { requestid: "frontend.lint", "frontend.caps": "moby.buildkit.frontend.subrequests+forward" };
  const onMetadata = (told: Record<string, string>): void => void (metadata = told);
  const built = await peerBuild(engine.socket, { folders, frontendOptions, exporterType: "", onMetadata });
  expect(built.vertices).toEqual([]);
  expect(metadata["result.statuscode"]).toBe("1");
  expect(metadata["result.txt"]).toContain("WARNING: StageNameCasing - https://docs.docker.com/go/dockerfile/rule/");
  const { warnings, sources } = JSON.parse(metadata["result.json"] ?? "") as {
    warnings: { ruleName: string; location: { ranges: { start: { line: number } }[] } }[];
    sources: { filename: string }[];
  };
  const found = warnings.map(({ ruleName, location }) => `${ruleName} ${location.ranges[0]?.start.line}`);
  expect(found.filter((one) => !one.startsWith("UndefinedVar"))).toEqual(["StageNameCasing 1", "CopyIgnoredFile 2"]);
  expect(sources.map(({ filename }) => filename)).toEqual(["Dockerfile"]);
});

test("a build tells a client's progress what the checks found", async () => {
  await using scratch = newScratch();
  const folders = contextIn(scratch.path, { Dockerfile: "FROM busybox AS Base\nRUN true\n" });
  const built = await peerBuild(engine.socket, { folders, exporter: { name: "warned:1" } });
  expect(built.vertices.map(({ name }) => name)).toContain("[internal] load build definition from Dockerfile");
});

test("the worker, health and the version answer; an unknown method is Unimplemented", async () => {
  using calls = await PeerControl.open(engine.socket);
  const workers = await calls.one("/moby.buildkit.v1.Control/ListWorkers", []);
  const [worker] = workers.messages(1);
  expect(worker?.messages(3).map((one) => `${one.text(2)}/${one.text(1)}`)).toEqual(["linux/amd64"]);
  // By these two clients know that archives and attestations can be asked for.
  expect(worker?.map(2)["org.mobyproject.buildkit.worker.snapshotter"]).toBe("overlayfs");
  let capabilities: string[] = [];
  await using scratch = newScratch();
  await peerBuild(engine.socket, {
    folders: contextIn(scratch.path, { Dockerfile: "FROM busybox\n" }),
    exporterType: "",
    look: async (_, bridge) => (capabilities = (await bridge("Ping", [])).messages(2).map((one) => one.text(1))),
  });
  expect(capabilities).toContain("exporter.image.attestations");
  expect((await calls.one("/grpc.health.v1.Health/Check", [])).integer(1)).toBe(1);
  const info = await calls.one("/moby.buildkit.v1.Control/Info", []);
  expect(info.message(1)?.text(2)).toMatch(/^v\d+\.\d+\.\d+$/);
  const failure = await failureOf(calls.call("/moby.buildkit.v1.Control/Nonsense", []));
  expect(failure.code).toBe(12);
  const container = await failureOf(calls.call("/moby.buildkit.v1.frontend.LLBBridge/NewContainer", []));
  expect(container.message).toContain("NewContainer");
});

test("a session without an id, a second of the same id, and another protocol are refused before anything is taken over", async () => {
  expect(upgraded(engine.socket, "/session")).rejects.toThrow("400");
  using session = await PeerSession.open(engine.socket, {});
  const again = upgraded(engine.socket, "/session", [`X-Docker-Expose-Session-Uuid: ${session.id}`]);
  expect(again).rejects.toThrow("409");
  const plain = await engine.api("POST", "/grpc");
  expect(plain.status).toBe(400);
});
