import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { attestResult, type AttestedPredicate } from "../../../src/build/attest-result.ts";
import { exporterOptions } from "../../../src/build/exporter-options.ts";
import { exportResult, openExportedTree, type Exported, type ExportRequest } from "../../../src/build/exporter.ts";
import { defaultRegistrySettings, serveRegistry } from "../../../src/registry/index.ts";
import { parseBuildOutput } from "../../../src/spec/index.ts";
import { once, openImages, tarOf, type ImageFixture } from "../../support/image-fixture.ts";
import { mountsBelow, newScratch, type Scratch } from "../../support/scratch.ts";

let scratch: Scratch;
let engine: ImageFixture;
let result: Exported;

beforeAll(async () => {
  scratch = newScratch();
  engine = openImages(join(scratch.path, "engine"));
  mkdirSync(engine.paths.temporary, { recursive: true });
  const files = [
    { name: "app/" },
    { name: "app/hello", text: "hello\n", mode: 0o755 },
    { name: "app/link", linkTo: "/etc/passwd" },
    { name: "provenance.json", linkTo: "/etc/passwd" },
    { name: "var/lib/dpkg/status", text: "Package: bash\nVersion: 1\nArchitecture: amd64\n" },
  ];
  const options = { reference: "base", changes: ["CMD hello"], message: "" };
  for await (const _ of engine.images.import(once(await tarOf(files)), options));
  const { config, layers } = engine.images.get("base");
  result = { imageId: undefined, config, layers: layers.map(({ chainId }) => chainId) };
}, 30_000);

afterAll(async () => {
  engine[Symbol.dispose]();
  await scratch[Symbol.asyncDispose]();
});

/** Exports as `--output` says; what the sink gets lands in a file. */
async function exported(
  output: string,
  rest: Omit<ExportRequest, "options" | "sink"> = {},
): Promise<{ path: string; answer: ReadonlyMap<string, string> }> {
  const path = join(scratch.path, `out-${Math.random()}`);
  const sink = async (archive: AsyncIterable<Uint8Array>): Promise<void> => {
    const writer = Bun.file(path).writer();
    for await (const chunk of archive) writer.write(chunk);
    await writer.end();
  };
  const options = exporterOptions(parseBuildOutput(output));
  const answer = await exportResult(engine, result, { ...rest, options, sink });
  return { path, answer };
}

async function attested(): Promise<AttestedPredicate[]> {
  const frontend = {
    fileName: "Dockerfile",
    arguments: {},
    labels: {},
    noCache: false,
    addHosts: [],
    networkMode: "",
    contexts: {},
    pull: false,
    limits: {},
  };
  const provenance = {
    materials: [],
    frontend,
    dockerfile: { name: "Dockerfile", text: "FROM scratch" },
    startedMs: 0,
    finishedMs: 1,
  };
  return attestResult(
    engine,
    { layers: result.layers, provenance },
    {
      createdAt: new Date(0),
      options: { sbom: true, provenance: { mode: "min", version: "v0.2", builderId: "", reproducible: false } },
      build: { invocationId: "x", platform: "linux/amd64", locals: [] },
    },
  );
}

function run(...command: string[]): string {
  const done = Bun.spawnSync(command);
  if (done.exitCode !== 0) throw new Error(`${command.join(" ")} failed: ${done.stderr.toString()}`);
  return done.stdout.toString();
}

test("tar and local hand over the files of all layers as one tar", async () => {
  for (const output of ["type=tar", "type=local,dest=x"]) {
    const { path } = await exported(output);
    expect(run("tar", "-tf", path).trim().split("\n")).toEqual([
      "app/",
      "app/hello",
      "app/link",
      "provenance.json",
      "var/",
      "var/lib/",
      "var/lib/dpkg/",
      "var/lib/dpkg/status",
    ]);
    expect(run("tar", "-xOf", path, "app/hello")).toBe("hello\n");
  }
  expect(mountsBelow(scratch.path)).toEqual([]);
  expect(engine.snapshots.keys()).toEqual([]);
});

test("attestations are files beside the others, of every file, and never written through a link of the image", async () => {
  const before = readFileSync("/etc/passwd", "utf8");
  const { path } = await exported("type=tar,attestation-prefix=my-", { attestations: await attested() });
  const sbom = JSON.parse(run("tar", "-xOf", path, "my-sbom.spdx.json")) as {
    subject: { name: string; digest: { sha256: string } }[];
    predicate: { packages: { name: string }[] };
  };
  expect(sbom.predicate.packages.map(({ name }) => name)).toEqual(["sbom", "bash"]);
  const digest = run("sh", "-c", "printf 'hello\\n' | sha256sum").slice(0, 64);
  expect(sbom.subject.find(({ name }) => name === "app/hello")?.digest.sha256).toBe(digest);
  const options = exporterOptions({ type: "local", attributes: {} });
  {
    await using tree = await openExportedTree(engine, result, { options, attestations: await attested() });
    expect(statSync(join(tree.root, "provenance.json")).isFile()).toBe(true);
    expect(JSON.parse(readFileSync(join(tree.root, "provenance.json"), "utf8"))).toMatchObject({
      predicateType: "https://slsa.dev/provenance/v0.2",
    });
    expect(readdirSync(join(tree.root, "app"))).toEqual(["hello", "link"]);
  }
  expect(readFileSync("/etc/passwd", "utf8")).toBe(before);
  expect(mountsBelow(scratch.path)).toEqual([]);
});

test("oci and docker hand over an archive that other engines read, under names that are not here", async () => {
  for (const type of ["oci", "docker"]) {
    const { path, answer } = await exported(`type=${type},dest=x,name=other/app:v2`);
    const manifest = JSON.parse(run("tar", "-xOf", path, "manifest.json")) as { Config: string; RepoTags: string[] }[];
    expect(manifest).toMatchObject([{ RepoTags: ["other/app:v2"] }]);
    expect(answer.get("containerimage.config.digest")).toBe(`sha256:${manifest[0]?.Config.split("/").at(-1)}`);
    expect(engine.images.find("other/app:v2")).toBeUndefined();
    const loaded = openImages(join(scratch.path, `loaded-${type}`));
    for await (const _ of loaded.images.load(Bun.file(path).stream() as unknown as AsyncIterable<Uint8Array>, {
      quiet: true,
    }));
    expect(loaded.images.get("other/app:v2").config.config?.Cmd).toEqual(["/bin/sh", "-c", "hello"]);
    loaded[Symbol.dispose]();
  }
});

test("image tags the result here, and registry pushes it with what is attested", async () => {
  const { answer } = await exported("type=image,name=built:v1");
  expect(engine.images.get("built:v1").id).toBe(answer.get("containerimage.config.digest") ?? "");
  const registry = await serveRegistry({ root: join(scratch.path, "registry") });
  try {
    const name = `${new URL(registry.url).host}/app:v3`;
    const push = { settings: defaultRegistrySettings };
    const pushed = await exported(`type=registry,name=${name}`, { push, attestations: await attested() });
    expect(pushed.answer.get("image.name")).toBe(name);
    const digest = pushed.answer.get("containerimage.digest") ?? "";
    const accept = "Accept: application/vnd.oci.image.index.v1+json";
    const path = join(scratch.path, "raw");
    const curl = Bun.spawn(["curl", "-s", "-o", path, "-H", accept, `${registry.url}/v2/app/manifests/v3`]);
    expect(await curl.exited).toBe(0);
    expect(digest).toBe(`sha256:${run("sha256sum", path).slice(0, 64)}`);
    expect(readFileSync(path, "utf8")).toContain("attestation-manifest");
  } finally {
    await registry.close();
  }
}, 30_000);

test("a sink that fails ends the export and leaves nothing mounted", async () => {
  const options = exporterOptions({ type: "tar", attributes: {} });
  const sink = async (): Promise<void> => {
    throw new Error("the client has left");
  };
  const failed = exportResult(engine, result, { options, sink });
  expect(failed).rejects.toThrow("the client has left");
  await failed.catch(() => {});
  expect(mountsBelow(scratch.path)).toEqual([]);
  expect(engine.snapshots.keys()).toEqual([]);
});
