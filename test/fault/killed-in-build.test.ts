// SIGKILL to the daemon while a build's command runs: nothing is left, and what was done before is still cached.
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { mountsBelow } from "../support/scratch.ts";
import { TestEngine, vitrineCommand, waitFor } from "../support/test-engine.ts";

setDefaultTimeout(60_000);

const engine = new TestEngine();
let root = "";

beforeAll(async () => {
  await engine.start();
  await engine.must("run", "--rm", "vitrine/base", "true");
  root = join(engine.scratch.path, "context");
  mkdirSync(root);
});
afterAll(() => engine[Symbol.asyncDispose]());

function write(last: string): void {
  const lines = [
    "FROM vitrine/base",
    "COPY file /file",
    "RUN echo first > /first",
    `RUN --mount=type=cache,target=/c touch /c/kept; echo begun; ${last}`,
  ];
  writeFileSync(join(root, "Dockerfile"), `${lines.join("\n")}\n`);
  writeFileSync(join(root, "file"), "content\n");
}

/** What a build has only while it goes on. */
function traces(): string[] {
  const unpacked = readdirSync(join(engine.root, "tmp")).filter((name) => name.startsWith("build-"));
  const snapshots = readdirSync(join(engine.root, "overlay2")).filter((name) => /^[0-9a-f]{64}$/.test(name));
  const running = Bun.spawnSync(["pgrep", "-f", "sleep 4321"]).stdout.toString().split("\n").filter(Boolean);
  const secrets = readdirSync(engine.run).filter((name) => name.startsWith("build-"));
  return [
    ...unpacked,
    ...mountsBelow(engine.root),
    ...running,
    ...secrets,
    ...snapshots.filter((name) => isActive(name)),
  ];
}

/** A read-write layer has the link to its init layer beside it. */
function isActive(name: string): boolean {
  return readdirSync(join(engine.root, "overlay2")).includes(`${name}-init`);
}

test("nothing of the build is left once the daemon is back, and its steps are cached", async () => {
  write("sleep 4321");
  const child = Bun.spawn([...vitrineCommand, "-H", `unix://${engine.socket}`, "build", root], {
    stdout: "pipe",
    stderr: "ignore",
  });
  for await (const chunk of child.stdout) if (Buffer.from(chunk).includes("begun")) break;
  expect(traces().length).toBeGreaterThan(0);
  await engine.stop("SIGKILL");
  await child.exited;
  await engine.start();
  await waitFor("everything of the build to be gone", async () => traces().length === 0);
  expect(traces()).toEqual([]);
  write("ls /c");
  const text = await engine.must("build", root);
  expect(text.match(/Using cache/g)).toHaveLength(2);
  expect(text).toContain("kept\n");
  expect(traces()).toEqual([]);
});
