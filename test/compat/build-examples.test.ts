// Each folder of test/fixtures/builds, built through docker's command line as an archive and through ours with a session.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import {
  addForExamples,
  buildExamples,
  cachedSteps,
  changeContext,
  describeImage,
  dockerBuild,
  makeContext,
  readImage,
  type BuildExample,
} from "../support/build-example.ts";
import { importBusybox } from "../support/busybox-image.ts";
import { serveExamples, type ExampleServer } from "../support/build-example-server.ts";
import { expectGolden } from "../support/golden.ts";
import { newScratch } from "../support/scratch.ts";
import { startTestEngine, type Outcome, type TestEngine } from "../support/test-engine.ts";

const contexts = newScratch();
const examples = buildExamples();
let engine: TestEngine;
let server: ExampleServer;

beforeAll(async () => {
  engine = await startTestEngine();
  server = await serveExamples(join(contexts.path, "served"));
  await importBusybox(engine, "busybox", addForExamples);
}, 60_000);

afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await engine[Symbol.asyncDispose]();
  await contexts[Symbol.asyncDispose]();
}, 60_000);

test("there are forty examples and more", () => {
  expect(examples.length).toBeGreaterThanOrEqual(40);
});

for (const example of examples) {
  test(example.name, () => tryExample(example), 60_000);
}

async function tryExample(example: BuildExample): Promise<void> {
  const context = join(contexts.path, example.name);
  const flags = example.flags.map((flag) => server.fill(flag).replaceAll("{{context}}", context));
  await makeContext(example, context);
  if (existsSync(join(example.folder, "before"))) {
    await finished(engine.vitrine("build", "-q", "-t", `before-${example.name}`, join(example.folder, "before")));
  }
  const tag = (how: string): string[] => ["-t", `${example.name}:${how}`, ...flags, context];
  const looked = async (how: string): Promise<string> =>
    server.hide(await describeImage(engine.socket, `${example.name}:${how}`));

  await finished(engine.vitrine("build", ...tag("session")));
  let text = await looked("session");
  if (!example.needsSession) {
    await finished(dockerBuild(engine.socket, ["--no-cache", ...tag("upload")]));
    expect(await looked("upload")).toBe(text);
  }
  await finished(engine.vitrine("build", "--progress", "plain", ...tag("buildkit")));
  const last = `${example.name}:${example.needsSession ? "session" : "upload"}`;
  const classic = await readImage(engine.socket, last);
  const buildkit = await readImage(engine.socket, `${example.name}:buildkit`);
  expect({ ...buildkit, history: "" }).toEqual({ ...classic, history: "" });
  text += `History as BuildKit writes it\n${server.hide(buildkit.history)}`;
  if (existsSync(join(example.folder, "again.sh"))) {
    await changeContext(example, context);
    const { stdout } = await finished(engine.vitrine("build", ...tag("again")));
    text += ["Again", ...cachedSteps(stdout), ""].join("\n");
  }
  expectGolden(join(example.folder, "expected.txt"), text);
}

async function finished(run: Promise<Outcome>): Promise<Outcome> {
  const outcome = await run;
  if (outcome.exitCode !== 0)
    throw new Error(`The build ended with ${outcome.exitCode}:\n${outcome.stdout}${outcome.stderr}`);
  return outcome;
}
