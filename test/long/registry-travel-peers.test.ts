// Images travel between this engine, Debian's docker-registry, our own registry, skopeo and docker's command line.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { serveRegistry } from "../../src/registry/index.ts";
import { startDebianRegistry } from "../support/debian-registry.ts";
import { newScratch, type Scratch } from "../support/scratch.ts";
import { runProgram, startTestEngine, type TestEngine } from "../support/test-engine.ts";

let scratch: Scratch;
let engine: TestEngine;
let second: TestEngine;
const undo = new AsyncDisposableStack();

beforeAll(async () => {
  scratch = undo.use(newScratch());
  engine = undo.use(await startTestEngine());
  second = undo.use(await startTestEngine());
  await engine.must("pull", "vitrine/base");
}, 60_000);

afterAll(() => undo.disposeAsync(), 60_000);

async function must(...command: string[]): Promise<string> {
  const outcome = await runProgram(["timeout", "-s", "KILL", "60", ...command]);
  if (outcome.exitCode !== 0) throw new Error(`${command.join(" ")}: ${outcome.stdout}${outcome.stderr}`);
  return outcome.stdout.trim();
}

/** The id of the image and the digest of its manifest, as skopeo reads them from the registry. */
async function readBySkopeo(name: string): Promise<{ id: string; digest: string; raw: string }> {
  const raw = await must("skopeo", "inspect", "--tls-verify=false", "--raw", `docker://${name}`);
  const digest = await must("skopeo", "inspect", "--tls-verify=false", "--format", "{{.Digest}}", `docker://${name}`);
  return { id: (JSON.parse(raw) as { config: { digest: string } }).config.digest, digest, raw };
}

async function startOurs(): Promise<AsyncDisposable & { host: string }> {
  const server = await serveRegistry({ root: join(scratch.path, `ours-${crypto.randomUUID()}`) });
  return { host: `127.0.0.1:${server.port}`, [Symbol.asyncDispose]: () => server.close() };
}

const registries = {
  "Debian's docker-registry": () => startDebianRegistry(join(scratch.path, `debian-${crypto.randomUUID()}`)),
  "our own registry": startOurs,
} as const;

for (const [name, start] of Object.entries(registries)) {
  test(`through ${name}: pushed here, read by skopeo, copied by it, pulled by another engine, and pushed on by docker`, async () => {
    await using registry = await start();
    const image = `${registry.host}/team/app`;
    await engine.must("tag", "vitrine/base", `${image}:v1`);
    const pushed = await engine.must("push", `${image}:v1`);
    const first = await readBySkopeo(`${image}:v1`);
    expect(pushed).toEndWith(`v1: digest: ${first.digest} size: ${first.raw.length}`);
    expect(await engine.must("inspect", "--format", "{{.Id}}", `${image}:v1`)).toBe(first.id);
    // To an OCI layout and back under another name: skopeo keeps the manifest, or rewrites it for the layout; the id stays.
    const layout = `oci:${join(scratch.path, `layout-${crypto.randomUUID()}`)}:v1`;
    await must("skopeo", "copy", "--src-tls-verify=false", `docker://${image}:v1`, layout);
    await must("skopeo", "copy", "--dest-tls-verify=false", layout, `docker://${image}:oci`);
    const oci = await readBySkopeo(`${image}:oci`);
    await second.must("pull", `${image}:oci`);
    const known = await second.must("inspect", "--format", "{{.Id}} {{json .RepoDigests}}", `${image}:oci`);
    expect(known).toStartWith(`${oci.id} `);
    expect(known).toContain(`"${image}@${oci.digest}"`);
    expect(await second.must("run", "--rm", `${image}:oci`, "echo", "arrived")).toBe("arrived");
    // The same bytes again, to another repository, by docker's command line.
    await second.must("tag", `${image}:oci`, `${registry.host}/other/app:v2`);
    const again = await second.docker("push", `${registry.host}/other/app:v2`);
    expect(again.stdout).toContain(`v2: digest: ${oci.digest} size: ${oci.raw.length}`);
    expect(again.stdout).toContain("Mounted from team/app");
    expect((await readBySkopeo(`${registry.host}/other/app:v2`)).raw).toBe(oci.raw);
    // A second version pushes one layer more.
    await second.must("run", "--name", "changed", `${image}:oci`, "sh", "-c", "echo new > /new");
    await second.must("commit", "changed", `${image}:v3`);
    const third = await second.must("push", `${image}:v3`);
    expect(third.match(/Layer already exists/g)?.length).toBe(1);
    expect(third.match(/Pushed/g)?.length).toBe(1);
    await second.must("rm", "changed");
    const listed = await must("skopeo", "list-tags", "--tls-verify=false", `docker://${image}`);
    expect((JSON.parse(listed) as { Tags: string[] }).Tags.toSorted()).toEqual(["oci", "v1", "v3"]);
    expect(await engine.must("pull", "-a", image)).toContain("v3: Pulling from team/app");
    expect(await engine.must("run", "--rm", `${image}:v3`, "cat", "/new")).toBe("new");
  }, 120_000);
}

test("docker-registry with a password: refused without it, open after a login", async () => {
  await using registry = await startDebianRegistry(join(scratch.path, "closed"), { name: "ann", password: "secret" });
  const image = `${registry.host}/app:v1`;
  await engine.must("tag", "vitrine/base", image);
  const environment = { DOCKER_HOST: `unix://${engine.socket}`, DOCKER_CONFIG: join(scratch.path, "config") };
  const run = (...words: string[]) => runProgram(["docker", ...words], environment);
  expect((await run("push", image)).stderr).toContain("no basic auth credentials");
  expect((await run("login", "-u", "ann", "-p", "wrong", registry.host)).stderr).toContain(
    "unauthorized: authentication required",
  );
  expect((await run("login", "-u", "ann", "-p", "secret", registry.host)).stdout).toContain("Login Succeeded");
  expect((await run("push", image)).stdout).toContain("v1: digest: ");
}, 60_000);
