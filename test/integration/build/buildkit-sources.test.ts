import { expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { contextIn, failureOf } from "../../support/buildkit-context.ts";
import { peerBuild, PeerControl, PeerSession } from "../../support/buildkit-peer.ts";
import { busyboxEngine } from "../../support/busybox-engine.ts";
import { RegistryFixture } from "../../support/registry-fixture.ts";
import { newScratch } from "../../support/scratch.ts";
import { toWire, wireMap, type WireMessage } from "../../support/protobuf-wire.ts";

const engine = busyboxEngine();

test("a client is told a Dockerfile's targets, and what a build of one takes", async () => {
  await using scratch = newScratch();
  const folders = contextIn(scratch.path, {
    Dockerfile: [
      "ARG BASE=busybox",
      "ARG UNUSED=1",
      "FROM $BASE AS tools",
      "# LEVEL how much",
      "ARG LEVEL=2",
      "RUN --mount=type=secret,id=token,required --mount=type=ssh true",
      "FROM scratch AS other",
      "ARG ELSEWHERE",
      "# last what is shipped",
      "FROM tools AS last",
    ].join("\n"),
  });
  const asked = async (name: string, options: Record<string, string> = {}): Promise<Record<string, never>> => {
    let found: Record<string, string> = {};
    const frontendOptions = { requestid: `frontend.${name}`, ...options };
    await peerBuild(engine.socket, { folders, exporterType: "", frontendOptions, onMetadata: (one) => (found = one) });
    expect(found["version"]).toBe("1.0.0");
    return JSON.parse(found["result.json"] ?? "") as Record<string, never>;
  };
  expect(await asked("targets")).toMatchObject({
    targets: [
      { name: "tools", base: "busybox" },
      { name: "other", base: "scratch" },
      { name: "last", default: true, description: "what is shipped", base: "tools" },
    ],
  });
  const outline = await asked("outline", { "build-arg:LEVEL": "9" });
  expect(outline).toMatchObject({
    name: "last",
    description: "what is shipped",
    args: [
      { name: "BASE", value: "busybox" },
      { name: "LEVEL", value: "9", description: "how much" },
    ],
    secrets: [{ name: "token", required: true }],
    ssh: [{ name: "default" }],
  });
  expect(await asked("outline", { target: "other" })).toMatchObject({ name: "other", args: [{ name: "ELSEWHERE" }] });
  const unknown = peerBuild(engine.socket, { folders, exporterType: "", frontendOptions: { requestid: "frontend.x" } });
  expect(await failureOf(unknown)).toMatchObject({ code: 12, message: expect.stringContaining('"frontend.x"') });
});

/** A graph in BuildKit's own form with one source. */
function sourceGraph(identifier: string): WireMessage {
  const op = toWire([[3, [[1, identifier]]]]);
  const digest = `sha256:${createHash("sha256").update(op).digest("hex")}`;
  return [
    [1, op],
    [1, toWire([[1, [[1, digest]]]])],
  ];
}

test("a client starts a build from what another left, from an image and from nothing, by graphs as inputs", async () => {
  await using scratch = newScratch();
  const folders = contextIn(scratch.path, { Dockerfile: "FROM start\nCOPY --from=files /bin/busybox /copied\n" });
  const before = newScratch();
  await using _ = before;
  const first = contextIn(before.path, { Dockerfile: "FROM busybox\nENV LEFT=here\nRUN echo left > /left\n" });
  let graph: WireMessage = [];
  await peerBuild(engine.socket, { folders: first, exporterType: "", onGraph: (found) => (graph = found) });
  const contexts = { "context:start": "input:start", "context:files": "input:files" };
  const build = (start: WireMessage): ReturnType<typeof peerBuild> =>
    peerBuild(engine.socket, {
      folders,
      exporter: { name: "inputs:1" },
      frontendOptions: contexts,
      inputs: { start, files: sourceGraph("docker-image://docker.io/library/busybox:latest") },
    });
  await build(graph);
  expect(await engine.must("run", "--rm", "inputs:1", "sh", "-c", "cat /left; echo $LEFT")).toBe("left\nhere");
  await build([]);
  expect(await engine.must("create", "inputs:1", "/copied")).toMatch(/^[0-9a-f]{64}$/);
  const unknown = await failureOf(build(sourceGraph("oci-layout://elsewhere@sha256:00")));
  expect(unknown).toMatchObject({ code: 12, message: expect.stringContaining('"oci-layout://elsewhere@sha256:00"') });
  const op = toWire([[2, [[1, [[1, "true"]]]]]]);
  const digest = `sha256:${createHash("sha256").update(op).digest("hex")}`;
  const command: WireMessage = [
    [1, op],
    [1, toWire([[1, [[1, digest]]]])],
  ];
  expect(await failureOf(build(command))).toMatchObject({ code: 12, message: expect.stringContaining('"exec"') });
});

test("a client looks at an image and at the files of a source before it builds", async () => {
  await using scratch = newScratch();
  const folders = { ...contextIn(scratch.path, { Dockerfile: "FROM busybox\n" }), lent: join(scratch.path, "lent") };
  contextIn(folders.lent, { "deep/file": "of the folder\n" });
  const seen = await peerBuild(engine.socket, {
    folders,
    look: async (_, bridge) => {
      const image = await bridge("ResolveImageConfig", [[1, "docker.io/library/busybox:latest"]]);
      const source: WireMessage = [[1, "docker-image://docker.io/library/busybox:latest"]];
      const meta = await bridge("ResolveSourceMeta", [[1, source]]);
      const local = await bridge("ResolveSourceMeta", [[1, [[1, "local://lent"]]]]);
      const solved = await bridge("Solve", [
        [1, sourceGraph("local://lent")],
        [5, true],
      ]);
      const id = solved.message(3)?.message(3)?.text(1) ?? "";
      const file = await bridge("ReadFile", [
        [1, id],
        [2, "deep/file"],
      ]);
      return {
        digest: image.text(1),
        architecture: (JSON.parse(image.text(2)) as { architecture: string }).architecture,
        name: image.text(3),
        same: meta.message(2)?.text(1) === image.text(1) && meta.message(2)?.text(2) === image.text(2),
        local: local.message(1)?.text(1),
        file: file.text(1),
        missing: await failureOf(bridge("ResolveImageConfig", [[1, "localhost:1/none"]])),
      };
    },
  });
  expect(seen.looked).toMatchObject({
    digest: expect.stringMatching(/^sha256:[0-9a-f]{64}$/),
    architecture: process.arch === "arm64" ? "arm64" : "amd64",
    name: "docker.io/library/busybox:latest",
    same: true,
    local: "local://lent",
    file: "of the folder\n",
    missing: { code: expect.any(Number) },
  });
});

test("a session that comes inside a call lends its folder like one of its own connection", async () => {
  await using scratch = newScratch();
  const folders = contextIn(scratch.path, {
    Dockerfile: "FROM busybox\nCOPY data /data\n",
    data: "x".repeat(2_000_000),
  });
  using tunnel = await PeerControl.open(engine.socket);
  using session = PeerSession.openInside(tunnel, { folders });
  using calls = await PeerControl.open(engine.socket);
  await calls.call("/moby.buildkit.v1.Control/Solve", [
    [1, crypto.randomUUID()],
    [5, session.id],
    [6, "dockerfile.v0"],
    [13, [[1, "moby"], ...wireMap(2, { name: "inside:1" })]],
  ]);
  expect(session.requested).toContain("data");
  expect(await engine.must("run", "--rm", "inside:1", "wc", "-c", "/data")).toContain("2000000");
});

for (const kind of ["basic", "token"] as const) {
  test(`a private image is pushed, and a build starts from it, by the client's login and not without (${kind})`, async () => {
    await using scratch = newScratch();
    await using registry = await RegistryFixture.start({ kind, user: "joe", password: "secret" });
    const { host } = registry;
    const login = { host, user: "joe", password: "secret" };
    const name = `${host}/private/image-${kind}:1`;
    const first = contextIn(scratch.path, { Dockerfile: "FROM busybox\nRUN echo private > /p\n" });
    const exporter = { name, push: "true" };
    const denied = await failureOf(peerBuild(engine.socket, { folders: first, exporter }));
    expect([7, 16]).toContain(denied.code);
    const { response } = await peerBuild(engine.socket, { folders: first, exporter, login });
    expect(response["containerimage.digest"]).toMatch(/^sha256:/);
    await engine.must("rmi", "-f", name);
    const next = contextIn(scratch.path, { Dockerfile: `FROM ${name}\nRUN cat /p\n` });
    const refused = await failureOf(peerBuild(engine.socket, { folders: next }));
    expect(refused.message).toMatch(kind === "basic" ? /no basic auth credentials/ : /pull access denied/);
    const pulled = await peerBuild(engine.socket, { folders: next, login, frontendOptions: { "no-cache": "" } });
    expect(pulled.output).toBe("private\n");
  });
}
