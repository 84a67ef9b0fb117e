// Our command line is a client of the Docker Engine API: here it works with Docker's own engine.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { startDockerd, type DockerdPeer } from "../../bench/dockerd-peer.ts";
import { newScratch } from "../support/scratch.ts";
import { runProgram, vitrineProgram, type Outcome } from "../support/test-engine.ts";

let peer: DockerdPeer;
const files = newScratch();

const vitrine = (...words: string[]): Promise<Outcome> =>
  runProgram([vitrineProgram, ...words], { DOCKER_HOST: `unix://${peer.socket}` });

async function must(...words: string[]): Promise<string> {
  const outcome = await vitrine(...words);
  if (outcome.exitCode !== 0)
    throw new Error(`vitrine ${words.join(" ")}: ${outcome.exitCode}\n${outcome.stdout}${outcome.stderr}`);
  return outcome.stdout.replace(/\n$/, "");
}

beforeAll(async () => {
  const started = await startDockerd();
  if (typeof started === "string") throw new Error(started);
  peer = started;
  const root = join(files.path, "root");
  mkdirSync(join(root, "bin"), { recursive: true });
  await runProgram(["cp", Bun.which("busybox") ?? "/bin/busybox", join(root, "bin", "busybox")]);
  for (const name of ["sh", "cat", "echo", "ls", "sleep", "touch"])
    await runProgram(["ln", "-s", "busybox", join(root, "bin", name)]);
  await runProgram(["tar", "-C", root, "-cf", join(files.path, "busybox.tar"), "."]);
  await must("import", join(files.path, "busybox.tar"), "busybox:latest");
}, 120_000);

afterAll(async () => {
  await peer[Symbol.asyncDispose]();
  await files[Symbol.asyncDispose]();
}, 120_000);

test("version and info tell of the other engine", async () => {
  expect(await must("version")).toMatch(/Server:[\s\S]*containerd:/);
  expect(await must("info")).toContain("Storage Driver: overlay2");
});

test("build, images, history and rmi", async () => {
  const context = join(files.path, "context");
  mkdirSync(context);
  writeFileSync(join(context, "file"), "of the context\n");
  writeFileSync(
    join(context, "Dockerfile"),
    'FROM busybox\nCOPY file /file\nRUN cat /file > /copy\nCMD ["cat", "/copy"]\n',
  );
  expect(await must("build", "-t", "made", context)).toContain("Successfully tagged made:latest");
  expect(await must("run", "--rm", "made")).toBe("of the context");
  expect(await must("images", "-q", "made")).toMatch(/^[0-9a-f]{12}$/);
  expect(await must("history", "made")).toContain("COPY file:");
  expect(await must("rmi", "made")).toContain("Untagged: made:latest");
}, 60_000);

test("run, ps, inspect, exec, logs, cp, stop and rm", async () => {
  const id = await must(
    "run",
    "-d",
    "--name",
    "web",
    "busybox",
    "sh",
    "-c",
    "echo begun; trap 'exit 3' TERM; while :; do sleep 0.1; done",
  );
  expect(await must("ps", "--format", "{{.Names}}")).toBe("web");
  expect(await must("inspect", "--format", "{{.Id}}", "web")).toBe(id);
  expect(await must("exec", "web", "echo", "inside")).toBe("inside");
  expect((await vitrine("exec", "web", "sh", "-c", "exit 6")).exitCode).toBe(6);
  expect(await must("logs", "web")).toBe("begun");
  writeFileSync(join(files.path, "in"), "carried\n");
  await must("cp", join(files.path, "in"), "web:/in");
  await must("cp", "web:/in", join(files.path, "out"));
  expect(readFileSync(join(files.path, "out"), "utf8")).toBe("carried\n");
  await must("stop", "web");
  expect(await must("inspect", "--format", "{{.State.ExitCode}}", "web")).toBe("3");
  await must("rm", "web");
}, 60_000);

test("exit codes and standard input pass through", async () => {
  expect((await vitrine("run", "--rm", "busybox", "sh", "-c", "exit 7")).exitCode).toBe(7);
  expect((await vitrine("run", "--rm", "busybox", "no-such-program")).exitCode).toBe(127);
  expect((await vitrine("run", "--rm", "no-such-image", "true")).exitCode).toBe(125);
  const piped = await runProgram(["sh", "-c", `echo through | ${vitrineProgram} run -i --rm busybox cat`], {
    DOCKER_HOST: `unix://${peer.socket}`,
  });
  expect(piped.stdout).toBe("through\n");
}, 60_000);

test("what only our engine knows is refused in a sentence", async () => {
  await must("create", "--name", "plain", "busybox", "ls");
  const outcome = await vitrine("explain", "plain");
  expect(outcome.exitCode).not.toBe(0);
  expect(outcome.stderr.trim().split("\n").length).toBeLessThanOrEqual(2);
  await must("rm", "plain");
}, 60_000);
