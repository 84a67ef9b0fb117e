import { expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { busyboxEngine } from "../../support/busybox-engine.ts";
import { RegistryFixture } from "../../support/registry-fixture.ts";
import { peerBuild } from "../../support/buildkit-peer.ts";
import { newScratch } from "../../support/scratch.ts";
import { startTestEngine, type TestEngine } from "../../support/test-engine.ts";

const engine = busyboxEngine();

function contextIn(folder: string, command: string): string {
  const context = join(folder, "context");
  mkdirSync(context, { recursive: true });
  writeFileSync(
    join(context, "Dockerfile"),
    `FROM busybox AS made\nRUN ${command} > /made\nFROM busybox\nCOPY --from=made /made /got\nRUN cat /got > /end\n`,
  );
  return context;
}

async function stepsOf(on: TestEngine, ...words: string[]): Promise<{ cached: number; stderr: string }> {
  const { exitCode, stderr } = await on.vitrine("build", "--progress", "plain", ...words);
  if (exitCode !== 0) throw new Error(stderr + on.log);
  return { cached: stderr.match(/^#\d+ CACHED$/gm)?.length ?? 0, stderr };
}

async function onAnotherEngine(work: (other: TestEngine) => Promise<void>): Promise<void> {
  await using other = await startTestEngine();
  // The same base, to the byte: keys begin with it.
  await using scratch = newScratch();
  const archive = join(scratch.path, "busybox.tar");
  await engine.must("save", "-o", archive, "busybox");
  await other.must("load", "-i", archive);
  await work(other);
}

test("a cache in a registry, one in a folder and one inside an image spare another engine every step", async () => {
  await using scratch = newScratch();
  await using registry = await RegistryFixture.start();
  const context = contextIn(scratch.path, "head -c 9 /dev/urandom");
  const folder = join(scratch.path, "cache");
  const repository = `${registry.host}/app`;
  await stepsOf(
    engine,
    "--cache-to",
    `type=registry,ref=${repository}:cache,mode=max`,
    "--cache-to",
    `type=local,dest=${folder},mode=max`,
    "--cache-to",
    "type=inline",
    "-t",
    `${repository}:1`,
    "--push",
    context,
  );
  const index = JSON.parse(readFileSync(join(folder, "index.json"), "utf8")) as { manifests: { digest: string }[] };
  const manifest = readFileSync(join(folder, "blobs", (index.manifests[0]?.digest ?? "").replace(":", "/")), "utf8");
  expect(manifest).toContain("application/vnd.buildkit.cacheconfig.v0");
  await onAnotherEngine(async (other) => {
    const none = await stepsOf(
      other,
      "--cache-from",
      `${registry.host}/app:absent`,
      contextIn(join(scratch.path, "x"), "echo 1"),
    );
    expect(none.stderr).toMatch(/importing cache manifest from \S+:absent\n#\d+ ERROR: /);
    for (const from of [`${repository}:cache`, `type=local,src=${folder}`]) {
      const { cached, stderr } = await stepsOf(other, "--cache-from", from, context);
      expect(stderr).toContain("importing cache manifest from");
      expect(cached).toBe(3);
      await other.must("builder", "prune", "-af");
    }
  });
});

test("of an inline cache the steps of the image are taken, and its layers are those of the image", async () => {
  await using scratch = newScratch();
  await using registry = await RegistryFixture.start();
  const context = join(scratch.path, "context");
  mkdirSync(context);
  writeFileSync(join(context, "Dockerfile"), "FROM busybox\nRUN head -c 9 /dev/urandom > /r\nRUN cat /r > /s\n");
  const name = `${registry.host}/inline:1`;
  await stepsOf(engine, "--cache-to", "type=inline", "-t", name, "--push", context);
  const layers = await engine.must("image", "inspect", "--format", "{{json .RootFS.Layers}}", name);
  await onAnotherEngine(async (other) => {
    const { cached } = await stepsOf(other, "--cache-from", name, "-t", "again", context);
    expect(cached).toBe(2);
    expect(await other.must("image", "inspect", "--format", "{{json .RootFS.Layers}}", "again")).toBe(layers);
  });
});

test("kinds of caches that are not built are refused by name", async () => {
  await using scratch = newScratch();
  const context = contextIn(scratch.path, "echo 2");
  const refusals: [string, string, RegExp][] = [
    ["--cache-from", "type=gha", /cache import of type "gha" is not built/],
    ["--cache-to", "type=s3,bucket=b", /cache export of type "s3" is not built/],
    ["--cache-to", "type=registry,ref=a/b,mode=all", /unsupported cache mode "all"/],
    ["--cache-to", "type=registry", /needs ref=/],
    ["--cache-to", "type=local", /requires dest/],
    ["--cache-to", "type=inline,compression=zstd", /does not know compression=zstd/],
  ];
  for (const [flag, value, words] of refusals) {
    const { exitCode, stderr } = await engine.vitrine("build", flag, value, context);
    expect(exitCode).not.toBe(0);
    expect(stderr).toMatch(words);
  }
});

test("with the classic builder an image is a cache by its history, and docker's client gets the very image again", async () => {
  await using scratch = newScratch();
  const context = contextIn(scratch.path, "head -c 9 /dev/urandom");
  const dockerfile = "FROM busybox\nENV A=1\nCOPY file /d\nRUN head -c 9 /dev/urandom > /r\nCMD cat /r\n";
  writeFileSync(join(context, "Dockerfile"), dockerfile);
  writeFileSync(join(context, "file"), "copied");
  await engine.must("build", "-t", "by-history", context);
  const id = await engine.must("image", "inspect", "--format", "{{.Id}}", "by-history");
  const archive = join(scratch.path, "image.tar");
  await engine.must("save", "-o", archive, "by-history");
  await onAnotherEngine(async (other) => {
    await other.must("load", "-i", archive);
    const docker = await other.docker("build", "--cache-from", "by-history", "-t", "docker-again", context);
    expect(docker.stderr).not.toContain("ERROR");
    expect(docker.stdout.match(/---> Using cache/g)).toHaveLength(4);
    expect(await other.must("image", "inspect", "--format", "{{.Id}}", "docker-again")).toBe(id);
    writeFileSync(join(context, "Dockerfile"), dockerfile.replace("CMD cat /r", "CMD cat /d"));
    const ours = await other.must("build", "--cache-from", "by-history", "-t", "our-own", context);
    expect(ours.match(/---> Using cache/g)).toHaveLength(3);
    writeFileSync(join(context, "Dockerfile"), dockerfile.replace("A=1", "A=2"));
    const changed = await other.must("build", "--cache-from", "by-history", context);
    // The COPY alone, which does not depend on variables here.
    expect(changed.match(/---> Using cache/g)).toHaveLength(1);
  });
});

test("a client of BuildKit's protocol writes a cache and reads it again", async () => {
  await using scratch = newScratch();
  await using registry = await RegistryFixture.start();
  const context = contextIn(scratch.path, "head -c 9 /dev/urandom");
  const folders = { context, dockerfile: context };
  const ref = `${registry.host}/peer:cache`;
  await peerBuild(engine.socket, { folders, cacheTo: { type: "registry", ref, mode: "max" } });
  const written = JSON.parse(Buffer.from(registry.manifests.get("peer/manifests/cache")?.bytes ?? []).toString()) as {
    config: { mediaType: string };
  };
  expect(written.config.mediaType).toBe("application/vnd.buildkit.cacheconfig.v0");
  await engine.must("builder", "prune", "-af");
  const imports = JSON.stringify([{ Type: "registry", Attrs: { ref } }]);
  for (const direct of [false, true]) {
    const built = await peerBuild(engine.socket, { folders, direct, frontendOptions: { "cache-imports": imports } });
    const steps = built.vertices.filter(({ name }) => / (RUN|COPY) /.test(name));
    expect(steps.length).toBe(3);
    expect(steps.every(({ cached }) => cached)).toBe(true);
    await engine.must("builder", "prune", "-af");
  }
});
