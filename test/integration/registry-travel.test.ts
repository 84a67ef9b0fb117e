import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { RegistryFixture } from "../support/registry-fixture.ts";
import { newScratch, type Scratch } from "../support/scratch.ts";
import { runProgram, startTestEngine, waitFor, type Outcome, type TestEngine } from "../support/test-engine.ts";

let engine: TestEngine;
let scratch: Scratch;
let open: RegistryFixture;
let closed: RegistryFixture;

beforeAll(async () => {
  scratch = newScratch();
  [engine, open, closed] = await Promise.all([
    startTestEngine(),
    RegistryFixture.start(),
    RegistryFixture.start({ kind: "token", user: "ann", password: "secret" }),
  ]);
  await engine.must("pull", "vitrine/base");
}, 30_000);

afterAll(async () => {
  await Promise.all([open[Symbol.asyncDispose](), closed[Symbol.asyncDispose]()]);
  await engine[Symbol.asyncDispose]();
  await scratch[Symbol.asyncDispose]();
}, 30_000);

/** Both command lines, each with a config file of its own: docker's says how it is, ours must say the same. */
const clients = {
  vitrine: (folder: string, words: readonly string[], input?: string) =>
    client([process.execPath, join(import.meta.dir, "../../src/main.ts")], { folder, words, input }),
  docker: (folder: string, words: readonly string[], input?: string) =>
    client(["/usr/bin/timeout", "-s", "KILL", "30", "docker"], { folder, words, input }),
};

async function client(
  program: readonly string[],
  { folder, words, input }: { folder: string; words: readonly string[]; input: string | undefined },
): Promise<Outcome> {
  mkdirSync(folder, { recursive: true });
  const environment = { DOCKER_HOST: `unix://${engine.socket}`, DOCKER_CONFIG: folder };
  if (input === undefined) return runProgram([...program, ...words], environment);
  writeFileSync(join(folder, "input"), input);
  return runProgram(
    ["/bin/sh", "-c", `exec "$@" < "${join(folder, "input")}"`, "sh", ...program, ...words],
    environment,
  );
}

for (const name of ["vitrine", "docker"] as const) {
  const run = clients[name];
  describe(`the command line of ${name}`, () => {
    test("pushes, pulls, and runs what is not here", async () => {
      const folder = join(scratch.path, name, "plain");
      const image = `${open.host}/${name}/app:v1`;
      await engine.must("tag", "vitrine/base", image);
      const pushed = await run(folder, ["push", image]);
      const digest = /^v1: digest: (sha256:[0-9a-f]{64}) size: \d+$/m.exec(pushed.stdout)?.[1] ?? "";
      expect(pushed.stdout.split("\n")).toEqual([
        `The push refers to repository [${open.host}/${name}/app]`,
        expect.stringMatching(/^[0-9a-f]{12}: Preparing$/),
        expect.stringMatching(/^[0-9a-f]{12}: (Pushed|Mounted from \w+\/app)$/),
        expect.stringMatching(/^v1: digest: /),
        "",
      ]);
      await engine.must("rmi", image);
      const pulled = await run(folder, ["pull", image]);
      expect(pulled.stdout.split("\n").slice(-4)).toEqual([
        `Digest: ${digest}`,
        `Status: Downloaded newer image for ${image}`,
        image,
        "",
      ]);
      expect(await engine.must("inspect", "--format", "{{index .RepoDigests 0}}", image)).toBe(
        `${open.host}/${name}/app@${digest}`,
      );
      await engine.must("rmi", image);
      const ran = await run(folder, ["run", "--rm", image, "echo", "here"]);
      expect(ran.stdout).toBe("here\n");
      expect(ran.stderr).toStartWith(`Unable to find image '${image}' locally\nv1: Pulling from ${name}/app\n`);
      expect(await run(folder, ["pull", "-q", image])).toEqual({ stdout: `${image}\n`, stderr: "", exitCode: 0 });
      const missing = await run(folder, ["pull", `${open.host}/${name}/app:none`]);
      expect(missing.exitCode).toBe(1);
      expect(missing.stderr).toContain(
        `manifest for ${open.host}/${name}/app:none not found: manifest unknown: manifest unknown`,
      );
    }, 30_000);

    test("pulls every tag of a repository, and pushes every tag of a name", async () => {
      const folder = join(scratch.path, name, "plain");
      const image = `${open.host}/${name}/many`;
      for (const tag of ["a", "b"]) await engine.must("tag", "vitrine/base", `${image}:${tag}`);
      expect((await run(folder, ["push", "-a", image])).stdout).toMatch(/^a: digest: .*^b: digest: /ms);
      for (const tag of ["a", "b"]) await engine.must("rmi", `${image}:${tag}`);
      expect((await run(folder, ["pull", "-a", image])).stdout).toMatch(/^a: Pulling from .*^b: Pulling from /ms);
      for (const tag of ["a", "b"]) await engine.must("rmi", `${image}:${tag}`);
    }, 30_000);

    test("logs in and out: the password opens the registry, and is forgotten again", async () => {
      const folder = join(scratch.path, name, "login");
      const image = `${closed.host}/${name}/app:v1`;
      await engine.must("tag", "vitrine/base", image);
      expect((await run(folder, ["push", image])).exitCode).toBe(1);
      const wrong = await run(folder, ["login", "-u", "ann", "--password-stdin", closed.host], "wrong\n");
      expect(wrong.exitCode).toBe(1);
      expect(wrong.stderr).toContain("unauthorized: incorrect username or password");
      const right = await run(folder, ["login", "-u", "ann", "--password-stdin", closed.host], "secret\n");
      expect(right.stdout).toContain("Login Succeeded\n");
      const file = join(folder, "config.json");
      expect(JSON.parse(readFileSync(file, "utf8"))).toMatchObject({
        auths: { [closed.host]: { auth: Buffer.from("ann:secret").toString("base64") } },
      });
      expect(statSync(file).mode & 0o777).toBe(0o600);
      expect((await run(folder, ["push", image])).stdout).toContain("v1: digest: ");
      // What one of them wrote, the other one reads.
      const other = clients[name === "docker" ? "vitrine" : "docker"];
      expect((await other(folder, ["pull", image])).exitCode).toBe(0);
      const out = await run(folder, ["logout", closed.host]);
      expect(out.stdout).toBe(`Removing login credentials for ${closed.host}\n`);
      expect((await run(folder, ["pull", image])).exitCode).toBe(1);
      await engine.must("rmi", image);
    }, 30_000);
  });
}

test("a credential helper keeps the password, and the config file does not", async () => {
  const folder = join(scratch.path, "helper");
  const programs = join(scratch.path, "programs");
  const kept = join(scratch.path, "kept.json");
  mkdirSync(folder, { recursive: true });
  mkdirSync(programs, { recursive: true });
  const helper = join(programs, "docker-credential-test");
  writeFileSync(helper, `#!/bin/sh\ncase "$1" in store) cat > ${kept};; get) cat ${kept};; erase) rm ${kept};; esac\n`);
  chmodSync(helper, 0o755);
  writeFileSync(join(folder, "config.json"), JSON.stringify({ credsStore: "test", other: { stays: true } }));
  const environment = {
    DOCKER_HOST: `unix://${engine.socket}`,
    DOCKER_CONFIG: folder,
    PATH: `${programs}:${process.env["PATH"]}`,
  };
  const run = (words: string) =>
    runProgram(["/bin/sh", "-c", `echo secret | ${process.execPath} src/main.ts ${words}`], environment);
  expect((await run(`login -u ann --password-stdin ${closed.host}`)).stdout).toBe("Login Succeeded\n");
  expect(JSON.parse(readFileSync(kept, "utf8"))).toEqual({ ServerURL: closed.host, Username: "ann", Secret: "secret" });
  expect(JSON.parse(readFileSync(join(folder, "config.json"), "utf8"))).toEqual({
    credsStore: "test",
    other: { stays: true },
    auths: { [closed.host]: {} },
  });
  const image = `${closed.host}/helped:v1`;
  await engine.must("tag", "vitrine/base", image);
  expect((await run(`push ${image}`)).stdout).toContain("v1: digest: ");
  const answer = await engine.api("GET", `/distribution/${open.host}/vitrine/app:v1/json`);
  expect(await answer.json()).toMatchObject({ Platforms: [{ os: "linux" }] });
}, 30_000);

test("on a terminal both command lines draw the same, byte for byte", async () => {
  const image = `${open.host}/drawn:v1`;
  await engine.must("tag", "vitrine/base", image);
  await engine.must("push", image);
  const drawn = await Promise.all(
    [["docker"], [process.execPath, join(import.meta.dir, "../../src/main.ts")]].map(async (program) => {
      let output = "";
      const terminal = new Bun.Terminal({
        cols: 120,
        rows: 30,
        data: (_, data) => void (output += Buffer.from(data).toString()),
      });
      const host = ["-H", `unix://${engine.socket}`];
      const child = Bun.spawn(["timeout", "-s", "KILL", "20", ...program, ...host, "pull", image], { terminal });
      await child.exited;
      await waitFor("the last line", () => output.endsWith(`${image}\r\n`));
      terminal.close();
      return output;
    }),
  );
  expect(drawn[1]).toBe(drawn[0] ?? "");
  expect(drawn[1]).toContain(": Already exists \r\x1b[1B");
}, 30_000);

test("a client that leaves while nothing moves ends the pull, and nothing stays", async () => {
  await using slow = await RegistryFixture.start();
  const image = `${slow.host}/slow:v1`;
  await engine.must("tag", "vitrine/base", image);
  await engine.must("push", image);
  await using other = await startTestEngine();
  const gate = Promise.withResolvers<void>();
  slow.faults.gate = gate.promise;
  const child = Bun.spawn(
    [process.execPath, join(import.meta.dir, "../../src/main.ts"), "-H", `unix://${other.socket}`, "pull", image],
    {
      stdio: ["ignore", "ignore", "ignore"],
    },
  );
  const asked = (): number => slow.count(/GET .*blobs/);
  await waitFor("the first blob to be asked for", () => asked() > 0);
  child.kill("SIGINT");
  await child.exited;
  await waitFor("the engine to hang up", () => slow.hungUp > 0);
  gate.resolve();
  expect(await other.must("images", "-aq")).toBe("");
}, 30_000);

test("a proxy of the daemon's environment is asked for other machines' registries, and not for this one's", async () => {
  const proxied: string[] = [];
  await using registry = await RegistryFixture.start();
  using proxy = Bun.serve({
    port: 0,
    fetch(request) {
      proxied.push(request.url);
      return Response.json({ errors: [{ code: "MANIFEST_UNKNOWN", message: "by proxy" }] }, { status: 404 });
    },
  });
  const other = `registry.example:${registry.host.split(":")[1]}`;
  const before = process.env["HTTP_PROXY"];
  process.env["HTTP_PROXY"] = `http://127.0.0.1:${proxy.port}`;
  const mirror = `http://${registry.host}`;
  const starting = startTestEngine(["--insecure-registry", other, "--registry-mirror", mirror]);
  if (before === undefined) delete process.env["HTTP_PROXY"];
  else process.env["HTTP_PROXY"] = before;
  await using behind = await starting;
  expect((await behind.vitrine("info")).stdout).toContain(`Registry Mirrors:\n  ${mirror}/\n`);
  expect((await behind.vitrine("pull", `${registry.host}/app:v1`)).stderr).toContain(
    "manifest unknown: manifest unknown",
  );
  expect(proxied).toEqual([]);
  expect((await behind.vitrine("pull", `${other}/app:v1`)).stderr).toContain("by proxy");
  expect(proxied).toEqual([`http://${other}/v2/app/manifests/v1`]);
}, 30_000);
