// What goes when it is no longer used, and what stays: the prunes of images, networks and the whole system, with their filters.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { importBusybox } from "../support/busybox-image.ts";
import { ask, createContainer, startContainer, waitContainer } from "../support/engine-containers.ts";
import { startTestEngine, type TestEngine } from "../support/test-engine.ts";

let engine: TestEngine;

beforeAll(async () => {
  engine = await startTestEngine();
  await importBusybox(engine);
}, 30_000);
afterAll(() => engine[Symbol.asyncDispose](), 30_000);

/** Commits a container that changed nothing, with a label, and perhaps a name. */
async function make(label: string, name?: string): Promise<string> {
  const id = await createContainer(engine, ["true"], { Labels: { [label]: "yes" } });
  const image = (await engine.must("commit", id, ...(name ? [name] : []))).trim();
  await engine.must("rm", id);
  return image;
}

const ids = async (): Promise<string[]> =>
  (await engine.must("images", "-aq", "--no-trunc")).split("\n").filter(Boolean);

test("image prune takes what has no name, by label, by what has no label, and by age", async () => {
  const [red, blue, named] = [await make("red"), await make("blue"), await make("red", "named")];
  await engine.must("image", "prune", "-f", "--filter", "until=1h");
  expect(await ids()).toContain(red);
  await engine.must("image", "prune", "-f", "--filter", "label!=red=yes");
  expect([await ids()].flat()).not.toContain(blue);
  expect(await ids()).toContain(red);
  const out = await engine.must("image", "prune", "-f", "--filter", "label=red");
  expect(out).toContain(`deleted: ${red}`);
  expect(await ids()).toContain(named);
  const refused = await engine.vitrine("image", "prune", "-f", "--filter", "colour=red");
  expect([refused.exitCode, refused.stderr]).toEqual([1, expect.stringContaining("invalid filter 'colour'")]);
  await engine.must("rmi", "named");
});

test("image ls shows what came before and since an image, by label, age and lack of a name", async () => {
  const older = await make("older", "older");
  const newer = await make("newer", "newer");
  const dangling = await make("dangling");
  const shown = async (...filters: string[]): Promise<string[]> =>
    (await engine.must("images", "-q", "--no-trunc", ...filters.flatMap((filter) => ["--filter", filter])))
      .split("\n")
      .filter(Boolean)
      .sort();
  expect(await shown("since=older", "label=newer")).toEqual([newer]);
  expect(await shown("before=newer", "label=older")).toEqual([older]);
  expect(await shown("before=older", "label=newer")).toEqual([]);
  expect(await shown("dangling=true")).toEqual([dangling]);
  expect(await shown("dangling=false", "label=dangling")).toEqual([]);
  expect(await shown("until=1h", "label=older")).toEqual([]);
  expect(await shown("reference=old*")).toEqual([older]);
  expect(await shown("reference=old*", "reference=new*")).toEqual([older, newer].sort());
  await engine.must("rmi", "older", "newer", dangling);
});

test("rmi by digest, by prefix and by several at once says what went, and of what is not there", async () => {
  const image = await make("gone", "gone:v1");
  await engine.must("tag", "gone:v1", "gone:v2");
  const several = await engine.vitrine("rmi", "gone:v1", "nothing", "gone:v2");
  expect(several.exitCode).toBe(1);
  expect(several.stdout).toBe(`Untagged: gone:v1\nUntagged: gone:v2\nDeleted: ${image}\n`);
  expect(several.stderr).toContain("No such image: nothing:latest");
  const again = await make("gone");
  expect(await engine.must("rmi", again.slice(7, 19))).toBe(`Deleted: ${again}`);
  expect((await engine.vitrine("rmi", "-f", "nothing")).exitCode).toBe(0);
});

test("system prune takes stopped containers and nameless images; --all and --volumes take more, and filters hold back", async () => {
  const setUp = async (): Promise<void> => {
    const id = await startContainer(engine, "true", { Labels: { keep: "no" }, Volumes: { "/anonymous": {} } });
    await waitContainer(engine, id);
    await make("dangling");
    await make("unused", "unused");
    await engine.must("volume", "create", "named");
  };
  await setUp();
  const held = await engine.must("system", "prune", "-f", "--filter", "label=keep=yes");
  expect(held).toContain("Total reclaimed space: 0B");
  expect(await ask<unknown[]>(engine, "GET", "/containers/json?all=1")).toHaveLength(1);
  await engine.must("system", "prune", "-f");
  expect(await ask<unknown[]>(engine, "GET", "/containers/json?all=1")).toEqual([]);
  expect((await engine.must("images", "--format", "{{.Repository}}")).split("\n").sort()).toEqual([
    "busybox",
    "unused",
  ]);
  expect((await engine.must("volume", "ls", "-q")).split("\n")).toHaveLength(2);
  const keeper = await createContainer(engine, ["true"]);
  await startContainer(engine, "sleep 1000", { name: "running" });
  await engine.must("system", "prune", "-f", "--all", "--volumes");
  expect(await engine.must("volume", "ls", "-q")).toBe("named");
  expect(await engine.must("images", "--format", "{{.Repository}}")).toBe("busybox");
  expect((await ask<{ Id: string }[]>(engine, "GET", "/containers/json?all=1")).map(({ Id }) => Id)).not.toContain(
    keeper,
  );
  const both = await engine.vitrine("system", "prune", "-f", "--volumes", "--filter", "until=1h");
  expect(both.stderr).toContain('The "until" filter is not supported with "--volumes"');
  await engine.must("rm", "-f", "running");
  await engine.must("volume", "rm", "named");
});

const clockMargin = 0.005;

test("a prune of networks is told of, and its filters are docker's", async () => {
  // The engine's clock and this one's may differ by a little.
  const since = (Date.now() / 1000 - clockMargin).toFixed(3);
  await ask(engine, "POST", "/networks/prune");
  const refused = await engine.api("POST", `/networks/prune?filters=${encodeURIComponent('{"colour":["red"]}')}`);
  expect(refused.status).toBe(400);
  const until = (Date.now() / 1000 + clockMargin).toFixed(3);
  const format = "{{.Type}} {{.Action}} {{.Actor.Attributes.reclaimed}}";
  const { stdout } = await engine.docker(
    "events",
    "--filter=type=network",
    "--since",
    since,
    "--until",
    until,
    "--format",
    format,
  );
  expect(stdout).toBe("network prune 0\n");
});

test("a pattern that stalls regular expressions is answered at once by ps", async () => {
  const name = "a".repeat(60);
  await createContainer(engine, ["true"], { name });
  const start = performance.now();
  expect(await engine.must("ps", "-aq", "--filter", "name=^(a+)+b$")).toBe("");
  expect(performance.now() - start).toBeLessThan(5000);
  expect(await engine.must("ps", "-a", "--filter", "name=^(a+)+$", "--format", "{{.Names}}")).toBe(name);
  await engine.must("rm", name);
});
