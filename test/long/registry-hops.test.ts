// One image through docker, our registry, our engine, podman and docker again: who has which digest at each hop.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { S3Storage, serveRegistry, verifyRegistry, type RegistryServer } from "../../src/registry/index.ts";
import { startHostDockerd, type HostDockerd } from "../support/host-dockerd.ts";
import { sha256 } from "../support/oci-layout.ts";
import { s3Keys, startS3 } from "../support/s3-server.ts";
import { newScratch, type Scratch } from "../support/scratch.ts";
import { runProgram, startTestEngine, type TestEngine } from "../support/test-engine.ts";

interface Manifest {
  readonly mediaType: string;
  readonly digest: string;
  readonly config: string;
  readonly layers: readonly string[];
}

const undo = new AsyncDisposableStack();
let scratch: Scratch;
let dockerd: HostDockerd;
let engine: TestEngine;

beforeAll(async () => {
  scratch = undo.use(newScratch());
  dockerd = undo.use(await startHostDockerd());
  engine = undo.use(await startTestEngine());
  const context = join(scratch.path, "context");
  mkdirSync(context);
  copyFileSync(Bun.which("busybox") ?? "", join(context, "busybox"));
  const lines = [
    "FROM scratch",
    "COPY busybox /bin/busybox",
    'RUN ["/bin/busybox", "sh", "-c", "echo built > /built"]',
    "LABEL hop=1",
    'CMD ["/bin/busybox", "cat", "/built"]',
  ];
  writeFileSync(join(context, "Dockerfile"), `${lines.join("\n")}\n`);
  await dockerd.docker("build", "-q", "--network", "none", "-t", "hop", context);
}, 120_000);

afterAll(() => undo.disposeAsync(), 60_000);

async function must(...command: string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await runProgram(["timeout", "-s", "KILL", "60", ...command]);
  if (exitCode !== 0) throw new Error(`${command.join(" ")}: ${stderr}${stdout}`);
  return stdout.trim();
}

/** What the registry has under a tag, read by curl, its digest computed here. */
async function manifestOf(registry: RegistryServer, tag: string): Promise<Manifest> {
  const types = ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"];
  const url = `${registry.url}/v2/hop/app/manifests/${tag}`;
  const raw = await must("curl", "-fsS", ...types.flatMap((type) => ["-H", `Accept: ${type}`]), url);
  const { mediaType, config, layers } = JSON.parse(raw) as {
    mediaType: string;
    config: { digest: string };
    layers: { digest: string }[];
  };
  const digest = sha256(Buffer.from(raw));
  return { mediaType, digest, config: config.digest, layers: layers.map((layer) => layer.digest) };
}

const storages = {
  "a folder": async () => undefined,
  "an object store": async () => {
    const store = undo.use(startS3("hops"));
    return new S3Storage({ endpoint: store.endpoint, bucket: "hops", prefix: "", ...s3Keys });
  },
};

describe.each(Object.entries(storages))("with blobs in %s", (name, makeStorage) => {
  test("docker builds and pushes; we pull, commit and push; podman and docker pull, run and push again", async () => {
    const root = join(scratch.path, name.replaceAll(" ", "-"));
    const storage = await makeStorage();
    await using registry = await serveRegistry({ root, ...(storage ? { storage } : {}) });
    const app = `127.0.0.1:${registry.port}/hop/app`;

    // docker → registry
    const { docker } = dockerd;
    await docker("tag", "hop", `${app}:v1`);
    const pushed = await docker("push", `${app}:v1`);
    const v1 = await manifestOf(registry, "v1");
    expect(pushed).toContain(`v1: digest: ${v1.digest} size: `);
    expect(await docker("inspect", "--format", "{{.Id}}", "hop")).toBe(v1.config);
    const diffIds = await docker("inspect", "--format", "{{json .RootFS.Layers}}", "hop");

    // registry → Vitrine: the same id, digest and layers, and a root that runs
    expect(await engine.must("pull", `${app}:v1`)).toContain(`Digest: ${v1.digest}`);
    const inspect = (tag: string, format: string): Promise<string> =>
      engine.must("inspect", "--format", format, `${app}:${tag}`);
    expect(await inspect("v1", "{{.Id}}")).toBe(v1.config);
    expect(await inspect("v1", "{{json .RootFS.Layers}}")).toBe(diffIds);
    expect(await inspect("v1", "{{json .RepoDigests}}")).toContain(`${app}@${v1.digest}`);
    expect(await engine.must("run", "--rm", "--net", "none", `${app}:v1`)).toBe("built");

    // commit, Vitrine → registry: two layers as they were, byte for byte, and one more
    const more = ["/bin/busybox", "sh", "-c", "echo more > /more"];
    const container = `hop-${registry.port}`;
    await engine.must("run", "--name", container, "--net", "none", `${app}:v1`, ...more);
    await engine.must("commit", container, `${app}:v2`);
    await engine.must("rm", container);
    const ours = await engine.must("push", `${app}:v2`);
    const v2 = await manifestOf(registry, "v2");
    expect(ours).toContain(`v2: digest: ${v2.digest} size: `);
    expect(v2.layers.slice(0, 2)).toEqual([...v1.layers]);
    expect(v2.layers).toHaveLength(3);
    expect(await inspect("v2", "{{.Id}}")).toBe(v2.config);

    // registry → podman → registry
    const at = (part: string): string => join(root, part);
    const folders = ["--root", at("p"), "--runroot", at("pr"), "--storage-driver", "vfs"];
    const podman = (...words: string[]): Promise<string> => must("podman", ...folders, ...words);
    expect(`sha256:${await podman("pull", "-q", "--tls-verify=false", `${app}:v2`)}`).toBe(v2.config);
    expect(await podman("image", "inspect", "--format", "{{.Digest}}", `${app}:v2`)).toBe(v2.digest);
    await podman("tag", `${app}:v2`, `${app}:podman`);
    await podman("push", "-q", "--tls-verify=false", `${app}:podman`);
    const byPodman = await manifestOf(registry, "podman");
    expect(byPodman.config).toBe(v2.config);
    expect(byPodman.layers).toEqual(v2.layers);

    // registry → docker → registry
    expect(await docker("pull", `${app}:v2`)).toContain(`Digest: ${v2.digest}`);
    expect(await docker("inspect", "--format", "{{.Id}}", `${app}:v2`)).toBe(v2.config);
    const cat = ["run", "--rm", "--network", "none", `${app}:v2`, "/bin/busybox", "cat", "/built", "/more"];
    expect(await docker(...cat)).toBe("built\nmore");
    await docker("tag", `${app}:v2`, `${app}:docker`);
    await docker("push", `${app}:docker`);
    const byDocker = await manifestOf(registry, "docker");
    expect(byDocker).toEqual(v2);

    // registry → Vitrine again: nothing is new
    expect(await engine.must("pull", `${app}:docker`)).toContain(`Digest: ${byDocker.digest}`);
    expect(await inspect("docker", "{{.Id}}")).toBe(v2.config);
    expect((await verifyRegistry({ root, ...(storage ? { storage } : {}) })).problems).toEqual([]);
    for (const tag of ["v1", "v2"]) await docker("rmi", "-f", `${app}:${tag}`);
  }, 180_000);
});

/** Not packaged by Debian 12: where somebody has put them, they take part; else the report names them as skipped. */
for (const [program, words] of [
  ["crane", ["digest", "--insecure"]],
  ["oras", ["manifest", "fetch", "--plain-http", "--descriptor"]],
] as const) {
  test.skipIf(Bun.which(program) === null)(
    `${program} (Debian 12 has no package of it) reads the digest that docker pushed`,
    async () => {
      await using registry = await serveRegistry({ root: join(scratch.path, program) });
      const app = `127.0.0.1:${registry.port}/hop/app`;
      await dockerd.docker("tag", "hop", `${app}:v1`);
      await dockerd.docker("push", `${app}:v1`);
      expect(await must(program, ...words, `${app}:v1`)).toContain((await manifestOf(registry, "v1")).digest);
    },
    60_000,
  );
}
