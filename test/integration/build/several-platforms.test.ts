// One build for several platforms, and the index that it leaves here, in a registry, in an archive.
import { expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ImageSummary } from "../../../src/spec/index.ts";
import { contextIn as foldersIn } from "../../support/buildkit-context.ts";
import { busyboxEngine } from "../../support/busybox-engine.ts";
import { peerBuild } from "../../support/buildkit-peer.ts";
import { ask } from "../../support/engine-containers.ts";
import { RegistryFixture } from "../../support/registry-fixture.ts";
import { newScratch } from "../../support/scratch.ts";
import { runProgram } from "../../support/test-engine.ts";

const engine = busyboxEngine();
const own = process.arch === "arm64" ? "arm64" : "amd64";
const platforms = "linux/amd64,linux/arm64";

interface Index {
  readonly mediaType: string;
  readonly manifests: readonly {
    readonly digest: string;
    readonly platform: { readonly os: string; readonly architecture: string };
    readonly annotations?: Readonly<Record<string, string>>;
  }[];
}

function contextIn(folder: string, lines: readonly string[]): string {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "Dockerfile"), `${lines.join("\n")}\n`);
  writeFileSync(join(folder, "file"), "copied\n");
  return folder;
}

const crossLines = [
  "FROM --platform=$BUILDPLATFORM busybox AS cross",
  "RUN echo shared && echo once > /once",
  "ARG TARGETARCH",
  'RUN echo "for $TARGETARCH" > /made',
  "FROM scratch",
  "COPY --from=cross /made /once /",
  "COPY file /",
];

async function told(...words: (string | string[])[]): Promise<string> {
  const { exitCode, stdout, stderr } = await engine.vitrine("build", ...words.flat());
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr });
  return stdout + stderr;
}

const architecturesOf = ({ manifests }: Index): string[] => manifests.map(({ platform }) => platform.architecture);

test("a cross compilation gives one name for both platforms, its progress tells which, and the shared step is done once", async () => {
  await using scratch = newScratch();
  const context = contextIn(scratch.path, crossLines);
  const metadata = join(scratch.path, "metadata.json");
  const idFile = join(scratch.path, "id");
  const text = await told(
    ["--platform", platforms, "-t", "several", "-t", "several:other", "--metadata-file", metadata],
    ["--iidfile", idFile, "--progress", "plain", context],
  );
  const other = own === "amd64" ? "arm64" : "amd64";
  expect(text).toContain(`[linux/${own} cross 2/3] RUN echo shared`);
  expect(text).toContain(`[linux/${own}->${other} cross 3/3] RUN echo "for $TARGETARCH"`);
  for (const architecture of ["amd64", "arm64"]) expect(text).toContain(`[linux/${architecture} stage-1 2/3] COPY`);
  expect(text.match(/^#\d+ [\d.]+ shared$/gm)).toHaveLength(1);
  for (const architecture of ["amd64", "arm64"]) {
    const asked = ["--platform", `linux/${architecture}`, "--format", "{{.Architecture}}"];
    const said = await engine.must("image", "inspect", ...asked, "several:other");
    expect(said).toBe(architecture);
  }
  const tree = await engine.must("image", "ls", "--tree");
  for (const architecture of ["amd64", "arm64"]) expect(tree).toContain(`linux/${architecture}`);
  const { "containerimage.digest": digest } = JSON.parse(readFileSync(metadata, "utf8")) as Record<string, string>;
  expect(digest).toMatch(/^sha256:[0-9a-f]{64}$/);
  expect(readFileSync(idFile, "utf8")).toBe(digest ?? "");
});

test("a push writes the index, and what is attested of each platform with it", async () => {
  await using scratch = newScratch();
  await using registry = await RegistryFixture.start();
  const context = contextIn(join(scratch.path, "context"), ["FROM scratch", "COPY file /"]);
  const metadata = join(scratch.path, "metadata.json");
  const name = `${registry.host}/pushed:1`;
  await told("--platform", platforms, "-t", name, "--push", "--provenance=true", "--metadata-file", metadata, context);
  const { "containerimage.digest": digest } = JSON.parse(readFileSync(metadata, "utf8")) as Record<string, string>;
  const url = `http://${registry.host}/v2/pushed/manifests`;
  const accept = "Accept: application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json";
  const { stdout } = await runProgram(["curl", "-sSf", "-H", accept, `${url}/1`]);
  expect(`sha256:${new Bun.CryptoHasher("sha256").update(stdout).digest("hex")}`).toBe(digest ?? "");
  const index = JSON.parse(stdout) as Index;
  expect(architecturesOf(index)).toEqual(["amd64", "arm64", "unknown", "unknown"]);
  const attested = index.manifests.map(({ annotations }) => annotations?.["vnd.docker.reference.digest"]);
  expect(attested).toEqual([undefined, undefined, ...index.manifests.slice(0, 2).map((each) => each.digest)]);
  for (const manifest of index.manifests) {
    const found = await runProgram(["curl", "-sSf", "-H", accept, `${url}/${manifest.digest}`]);
    expect(`sha256:${new Bun.CryptoHasher("sha256").update(found.stdout).digest("hex")}`).toBe(manifest.digest);
  }
});

test("an OCI archive holds the index, leaves no image here, and is loaded whole", async () => {
  await using scratch = newScratch();
  const lines = ["FROM scratch", "COPY file /only-in-archive"];
  const context = contextIn(join(scratch.path, "context"), lines);
  const before = await engine.must("images", "-aq");
  const archive = join(scratch.path, "archive.tar");
  const text = await told("--platform", platforms, "-o", `type=oci,dest=${archive},name=archived:1`, context);
  for (const architecture of ["amd64", "arm64"]) expect(text).toContain(`[linux/${architecture} 2/2] COPY file`);
  expect(await engine.must("images", "-aq")).toBe(before);
  const layout = await runProgram(["tar", "-xOf", archive, "index.json"]);
  const [entry] = (JSON.parse(layout.stdout) as Index).manifests;
  const blob = await runProgram(["tar", "-xOf", archive, `blobs/${entry?.digest.replace(":", "/")}`]);
  expect(architecturesOf(JSON.parse(blob.stdout) as Index)).toEqual(["amd64", "arm64"]);
  await engine.must("load", "-i", archive);
  for (const architecture of ["amd64", "arm64"])
    await engine.must("image", "inspect", "--platform", `linux/${architecture}`, "archived:1");
});

test("what takes one platform refuses several by name, and a step that fails ends the build", async () => {
  await using scratch = newScratch();
  const context = contextIn(scratch.path, ["FROM scratch", "COPY file /"]);
  const refusals: [string[], RegExp][] = [
    [
      ["-o", `type=docker,dest=${join(scratch.path, "docker.tar")}`],
      /does not currently support exporting manifest lists/,
    ],
    [["-o", join(scratch.path, "out")], /exporter "local" does not take several platforms yet/],
    [["--cache-to", `type=local,dest=${join(scratch.path, "cache")}`], /cache of the kind "local" is not written yet/],
  ];
  for (const [words, expected] of refusals) {
    const { exitCode, stderr } = await engine.vitrine("build", "--platform", platforms, ...words, context);
    expect(exitCode).not.toBe(0);
    expect(stderr).toMatch(expected);
  }
  const url = `http://localhost/build?platform=${platforms}`;
  const classic = await runProgram([
    "curl",
    "-sS",
    "--unix-socket",
    engine.socket,
    "-H",
    "Content-Type: application/x-tar",
    "--data-binary",
    "",
    url,
  ]);
  expect(classic.stdout).toContain("are not built together by the classic builder");
  const failing = contextIn(join(scratch.path, "failing"), [
    "FROM --platform=$BUILDPLATFORM busybox",
    "ARG TARGETARCH",
    "RUN test $TARGETARCH != arm64",
  ]);
  const { exitCode, stderr } = await engine.vitrine("build", "--platform", platforms, failing);
  expect(exitCode).toBe(1);
  expect(stderr).toContain("did not complete successfully: exit code: 1");
});

test("a client of BuildKit's protocol gets one index of the platforms that it names", async () => {
  await using scratch = newScratch();
  const folders = foldersIn(scratch.path, { Dockerfile: "FROM scratch\nCOPY file /\n", file: "by a peer\n" });
  const frontendOptions = { platform: platforms, "multi-platform": "true" };
  const { response } = await peerBuild(engine.socket, {
    folders,
    frontendOptions,
    exporter: { name: "peer-several:1" },
  });
  expect(response["image.name"]).toBe("docker.io/library/peer-several:1");
  expect(response["containerimage.config.digest"]).toBeUndefined();
  const listed = await ask<ImageSummary[]>(engine, "GET", "/v1.51/images/json?manifests=1");
  const named = listed.find(({ RepoTags }) => RepoTags?.includes("peer-several:1"));
  expect(named?.Descriptor?.digest).toBe(response["containerimage.digest"] ?? "");
  for (const architecture of ["amd64", "arm64"])
    await engine.must("image", "inspect", "--platform", `linux/${architecture}`, "peer-several:1");
});
