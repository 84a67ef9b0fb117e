// The examples of test/fixtures/builds that Docker's classic builder can build, built by its own engine: config, history and layers are what ours are.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { startDockerd, type DockerdPeer } from "../../bench/dockerd-peer.ts";
import {
  addForExamples,
  buildExamples,
  cachedSteps,
  changeContext,
  describeImage,
  dockerBuild,
  makeContext,
  type BuildExample,
} from "../support/build-example.ts";
import { importBusybox } from "../support/busybox-image.ts";
import { newScratch } from "../support/scratch.ts";
import { runProgram, startTestEngine, type Outcome, type TestEngine } from "../support/test-engine.ts";

const contexts = newScratch();
let peer: DockerdPeer;
let engine: TestEngine;

beforeAll(async () => {
  const started = await startDockerd();
  if (typeof started === "string") throw new Error(started);
  peer = started;
  engine = await startTestEngine();
  await importBusybox(engine, "busybox", addForExamples);
  const load = `docker -H unix://${engine.socket} save busybox | docker -H unix://${peer.socket} load`;
  await finished(runProgram(["timeout", "-s", "KILL", "60", "sh", "-c", load]));
}, 120_000);

afterAll(async () => {
  await peer[Symbol.asyncDispose]();
  await engine[Symbol.asyncDispose]();
  await contexts[Symbol.asyncDispose]();
}, 120_000);

for (const example of buildExamples()) {
  if (example.notDocker === undefined) test(example.name, () => compare(example), 120_000);
}

async function compare(example: BuildExample): Promise<void> {
  const theirs = await result(example, peer.socket, "theirs");
  expect(asOfToday(await result(example, engine.socket, "ours"))).toBe(asOfToday(theirs));
}

/** Histories of version 28, which ours are, in place of those of 20.10: of health checks, and of owners. */
function asOfToday(text: string): string {
  return text
    .replaceAll(/HEALTHCHECK &\{.*/g, "HEALTHCHECK")
    .replaceAll(/(--chown=\S+?) ?(file|dir|multi):/g, "$1 $2:");
}

/** What an engine makes of an example, and which steps its cache had when the context had changed. */
async function result(example: BuildExample, socket: string, whose: string): Promise<string> {
  const context = join(contexts.path, whose, example.name);
  await makeContext(example, context);
  const before = join(example.folder, "before");
  if (existsSync(before)) await finished(dockerBuild(socket, ["-t", `before-${example.name}`, before]));
  const words = ["--network", "none", "-t", example.name, ...example.flags, context];
  await finished(dockerBuild(socket, words));
  const text = await describeImage(socket, example.name);
  if (!existsSync(join(example.folder, "again.sh"))) return text;
  await changeContext(example, context);
  const { stdout } = await finished(dockerBuild(socket, words));
  return [text, "Again", ...cachedSteps(stdout)].join("\n");
}

async function finished(run: Promise<Outcome>): Promise<Outcome> {
  const outcome = await run;
  if (outcome.exitCode !== 0)
    throw new Error(`The build ended with ${outcome.exitCode}:\n${outcome.stdout}${outcome.stderr}`);
  return outcome;
}
