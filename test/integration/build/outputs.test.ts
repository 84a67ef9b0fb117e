import { expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { busyboxEngine } from "../../support/busybox-engine.ts";
import { newScratch } from "../../support/scratch.ts";
import { runProgram, vitrineCommand } from "../../support/test-engine.ts";

const engine = busyboxEngine();

function contextIn(folder: string, dockerfile: string): string {
  const context = join(folder, "context");
  mkdirSync(context, { recursive: true });
  writeFileSync(join(context, "Dockerfile"), dockerfile);
  writeFileSync(join(context, "file"), "of the context\n");
  return context;
}

const files =
  "FROM busybox AS made\nRUN mkdir /out && echo made > /out/a && ln -s a /out/link\nFROM scratch\nCOPY --from=made /out /\nCOPY file /sub/file\n";

test("-o FOLDER leaves the result's files there, and no image", async () => {
  await using scratch = newScratch();
  const context = contextIn(scratch.path, files);
  const out = join(scratch.path, "out");
  const before = await engine.must("images", "-aq", "--no-trunc");
  await engine.must("build", "-o", out, context);
  expect(readFileSync(join(out, "a"), "utf8")).toBe("made\n");
  expect(readFileSync(join(out, "sub/file"), "utf8")).toBe("of the context\n");
  expect(readdirSync(out).toSorted()).toEqual(["a", "link", "sub"]);
  expect(await engine.must("images", "-aq", "--no-trunc")).toBe(before);
});

test("a folder that has files keeps them; links in it lead nothing outside", async () => {
  await using scratch = newScratch();
  const context = contextIn(scratch.path, files);
  const out = join(scratch.path, "out");
  const outside = join(scratch.path, "outside");
  mkdirSync(out);
  mkdirSync(outside);
  writeFileSync(join(out, "kept"), "kept");
  symlinkSync(outside, join(out, "sub"));
  symlinkSync(join(outside, "target"), join(out, "a"));
  await engine.must("build", "--output", `type=local,dest=${out}`, context);
  expect(readFileSync(join(out, "kept"), "utf8")).toBe("kept");
  expect(readdirSync(outside)).toEqual([]);
  expect(statSync(join(out, "sub/file")).isFile()).toBe(true);
});

test("-o - is a tar on standard output, which tar reads", async () => {
  await using scratch = newScratch();
  const context = contextIn(scratch.path, files);
  const run = Bun.spawn([...vitrineCommand, "build", "-o", "-", context], {
    env: { ...process.env, DOCKER_HOST: `unix://${engine.socket}` },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const tar = Buffer.from(await new Response(run.stdout).arrayBuffer());
  expect(await run.exited).toBe(0);
  const listed = Bun.spawnSync(["tar", "-tf", "-"], { stdin: tar });
  expect(
    listed.stdout
      .toString()
      .split("\n")
      .filter((name) => name !== "")
      .map((name) => name.replace(/^\.\//, ""))
      .toSorted(),
  ).toEqual(["a", "link", "sub/", "sub/file"]);
});

test("oci and docker archives hold the image under its name, and no name stays in the engine", async () => {
  await using scratch = newScratch();
  const context = contextIn(scratch.path, "FROM busybox\nCOPY file /file\nCMD cat /file\n");
  for (const type of ["oci", "docker"]) {
    const archive = join(scratch.path, `${type}.tar`);
    await engine.must("build", "-t", `archived-${type}:1`, "-o", `type=${type},dest=${archive}`, context);
    const index = await runProgram(["tar", "-xOf", archive, "index.json"]);
    const { manifests } = JSON.parse(index.stdout) as { manifests: { annotations: Record<string, string> }[] };
    expect(manifests[0]?.annotations["io.containerd.image.name"]).toBe(`docker.io/library/archived-${type}:1`);
    expect((await engine.vitrine("image", "inspect", `archived-${type}:1`)).exitCode).not.toBe(0);
    await engine.must("load", "-i", archive);
    expect(await engine.must("run", "--rm", `archived-${type}:1`)).toBe("of the context");
  }
});

test("--load names the image in the engine; --iidfile and --metadata-file tell what docker's do", async () => {
  await using scratch = newScratch();
  const context = contextIn(scratch.path, "FROM busybox\nCOPY file /loaded\n");
  const idFile = join(scratch.path, "id");
  const metadata = join(scratch.path, "metadata.json");
  await engine.must(
    "build",
    "--load",
    "-t",
    "loaded:1",
    "-t",
    "loaded:2",
    "--iidfile",
    idFile,
    "--metadata-file",
    metadata,
    context,
  );
  const id = await engine.must("image", "inspect", "--format", "{{.Id}}", "loaded:2");
  expect(readFileSync(idFile, "utf8")).toBe(id);
  const told = JSON.parse(readFileSync(metadata, "utf8")) as Record<string, string>;
  expect(told).toMatchObject({
    "containerimage.config.digest": id,
    "containerimage.digest": id,
    "image.name": "docker.io/library/loaded:1,docker.io/library/loaded:2",
  });
  expect(told["buildx.build.ref"]).toMatch(/^vitrine\/vitrine\/\w+$/);
});

test("--quiet prints the id and nothing else, whatever the output is", async () => {
  await using scratch = newScratch();
  const context = contextIn(scratch.path, "FROM busybox\nCOPY file /quiet\n");
  expect(await engine.must("build", "-q", "--load", "-t", "quiet:1", context)).toMatch(/^sha256:[0-9a-f]{64}$/);
  expect(await engine.must("build", "-q", context)).toMatch(/^sha256:[0-9a-f]{64}$/);
});

test("outputs that cannot be are refused by name, before anything is built", async () => {
  await using scratch = newScratch();
  const context = contextIn(scratch.path, "FROM busybox\nRUN false\n");
  const refusals: [string, RegExp][] = [
    ["type=nonsense,dest=x", /invalid output type "nonsense"/],
    ["type=local", /dest is required for local exporter/],
    [`type=local,dest=${join(context, "file")}`, /is a file/],
    [`type=tar,dest=${context}`, /is a directory/],
    ["type=image,annotation.x=y", /does not know annotation\.x=y/],
    ["type=image,push=true", /tag is needed when pushing to registry/],
  ];
  for (const [output, words] of refusals) {
    const { exitCode, stderr } = await engine.vitrine("build", "-o", output, context);
    expect(exitCode).not.toBe(0);
    expect(stderr).toMatch(words);
  }
});

test("what is attested is among the files of a folder, but for a provenance that is meant for images alone", async () => {
  await using scratch = newScratch();
  const context = contextIn(scratch.path, files);
  const out = join(scratch.path, "out");
  await engine.must("build", "--sbom=true", "--provenance=mode=min,inline-only=true", "-o", out, context);
  expect(readdirSync(out).toSorted()).toEqual(["a", "link", "sbom.spdx.json", "sub"]);
  const said = JSON.parse(readFileSync(join(out, "sbom.spdx.json"), "utf8")) as { subject: { name: string }[] };
  expect(said.subject.map(({ name }) => name)).toEqual(["a", "sub/file"]);
});
