// Health checks as docker's own command line shows them.
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { importBusybox } from "../support/busybox-image.ts";
import { newScratch } from "../support/scratch.ts";
import { TestEngine, waitFor } from "../support/test-engine.ts";

setDefaultTimeout(60_000);

const engine = new TestEngine();

beforeAll(async () => {
  await engine.start();
  await importBusybox(engine);
});
afterAll(() => engine[Symbol.asyncDispose]());

const docker = async (...words: string[]): Promise<string> => {
  const { stdout, stderr, exitCode } = await engine.docker(...words);
  if (exitCode !== 0) throw new Error(`docker ${words.join(" ")}: ${exitCode}\n${stdout}${stderr}\n${engine.log}`);
  return stdout.trimEnd();
};

/** `docker run -d` of a busybox that is healthy while /healthy is there. */
const run = (name: string, ...flags: string[]): Promise<string> =>
  docker("run", "-d", "--name", name, "--health-interval", "50ms", ...flags, "busybox", "sleep", "1000");
const probe = ["--health-cmd", "echo looked; test -e /healthy"];

const health = async (id: string) => (await engine.inspect(id)).State.Health;
const becomes = (id: string, status: string) =>
  waitFor(`${id} to be ${status}`, async () => (await health(id))?.Status === status);
const listed = (...filters: string[]) =>
  docker("ps", "-a", "--format", "{{.Names}}", ...filters.flatMap((filter) => ["--filter", filter]));

test("a container is starting, then healthy, then unhealthy after its retries, as ps, inspect, filters and events say", async () => {
  const since = Math.floor(Date.now() / 1000);
  await docker("run", "-d", "--name", "plain", "busybox", "sleep", "1000");
  await run("web", ...probe, "--health-interval", "300ms", "--health-retries", "2");
  expect(await docker("ps", "--filter", "name=web", "--format", "{{.Status}}")).toMatch(/^Up .*\(health: starting\)$/);
  expect(await listed("health=starting")).toBe("web");

  await docker("exec", "web", "touch", "/healthy");
  await becomes("web", "healthy");
  expect(await docker("ps", "--filter", "name=web", "--format", "{{.Status}}")).toMatch(/^Up .*\(healthy\)$/);
  expect(await listed("health=healthy")).toBe("web");
  expect(await listed("health=none")).toBe("plain");

  await docker("exec", "web", "busybox", "rm", "/healthy");
  await becomes("web", "unhealthy");
  const state = JSON.parse(await docker("inspect", "--format", "{{json .State.Health}}", "web"));
  expect(state.FailingStreak).toBeGreaterThanOrEqual(2);
  expect(state.Log.at(-1)).toMatchObject({ ExitCode: 1, Output: "looked\n" });
  expect(Date.parse(state.Log.at(-1).End)).toBeGreaterThanOrEqual(Date.parse(state.Log.at(-1).Start));
  expect(await listed("health=unhealthy")).toBe("web");

  const until = Math.ceil(Date.now() / 1000);
  const range = ["--since", `${since}`, "--until", `${until}`, "--filter", "container=web"];
  const statuses = (await docker("events", ...range, "--filter", "event=health_status", "--format", "{{.Action}}"))
    .split("\n")
    .filter((line) => line !== "");
  expect(statuses).toEqual(["health_status: healthy", "health_status: unhealthy"]);
});

test("the log keeps the last five results, each with at most 4096 bytes of output", async () => {
  await run("talkative", "--health-cmd", "yes | head -n 5000");
  await waitFor("five results", async () => (await health("talkative"))?.Log.length === 5);
  const first = (await health("talkative"))?.Log[0]?.Start;
  await waitFor("a sixth", async () => (await health("talkative"))?.Log[0]?.Start !== first);
  const log = (await health("talkative"))?.Log ?? [];
  expect(log).toHaveLength(5);
  expect(log[0]?.Output).toBe(`${"y\n".repeat(2048)}...`);
});

test("a probe that takes too long is killed and counts as failed", async () => {
  await run("slow", "--health-cmd", "echo begun; exec sleep 777", "--health-timeout", "200ms", "--health-retries", "1");
  await becomes("slow", "unhealthy");
  expect((await health("slow"))?.Log[0]).toMatchObject({
    ExitCode: -1,
    Output: "Health check exceeded timeout (200ms): begun\n",
  });
  await docker("rm", "-f", "slow");
  expect(processesOf("sleep 777")).toEqual([]);
});

test("a probe that cannot be run fails, with the reason as its output", async () => {
  const body = {
    Image: "busybox",
    Cmd: ["sleep", "1000"],
    Healthcheck: { Test: ["CMD", "no-such-program"], Interval: 50e6, Retries: 1 },
  };
  const { Id: id } = (await (await engine.api("POST", "/containers/create", body)).json()) as { Id: string };
  expect((await engine.inspect(id)).State.Health).toBeUndefined();
  await engine.api("POST", `/containers/${id}/start`);
  await becomes(id, "unhealthy");
  expect((await health(id))?.Log[0]?.ExitCode).toBe(-1);
  expect((await health(id))?.Log[0]?.Output).toContain('"no-such-program": executable file not found in $PATH');
});

test("failures in the start period do not count, and probes come faster in it", async () => {
  const body = {
    Image: "busybox",
    Cmd: ["sleep", "1000"],
    Healthcheck: {
      Test: ["CMD-SHELL", "test -e /healthy"],
      Interval: 3600e9,
      StartPeriod: 3600e9,
      StartInterval: 50e6,
      Retries: 1,
    },
  };
  const { Id: id } = (await (await engine.api("POST", "/containers/create", body)).json()) as { Id: string };
  await engine.api("POST", `/containers/${id}/start`);
  await waitFor("three failures", async () => ((await health(id))?.Log.length ?? 0) >= 3);
  expect(await health(id)).toMatchObject({ Status: "starting", FailingStreak: 0 });
  await docker("exec", id, "touch", "/healthy");
  await becomes(id, "healthy");
});

test("an image's HEALTHCHECK is used, a request may change parts of it, and --no-healthcheck puts it aside", async () => {
  await using context = newScratch();
  const instruction = 'HEALTHCHECK --interval=1h --retries=7 CMD ["true"]';
  writeFileSync(join(context.path, "Dockerfile"), `FROM busybox\n${instruction}\n`);
  await docker("build", "-t", "checked", context.path);
  await docker("run", "-d", "--name", "whole", "checked", "sleep", "1000");
  expect((await engine.inspect("whole")).Config.Healthcheck).toEqual({
    Test: ["CMD", "true"],
    Interval: 3600e9,
    Retries: 7,
  });
  await docker("run", "-d", "--name", "changed", "--health-interval", "50ms", "checked", "sleep", "1000");
  expect((await engine.inspect("changed")).Config.Healthcheck).toMatchObject({ Interval: 50e6, Retries: 7 });
  await becomes("changed", "healthy");
  await docker("run", "-d", "--name", "without", "--no-healthcheck", "checked", "sleep", "1000");
  expect((await engine.inspect("without")).State.Health).toBeUndefined();
});

test("probes pause with the container, end with it, and begin again with its next start", async () => {
  await run("stopped", "--health-cmd", "true");
  await becomes("stopped", "healthy");
  await docker("pause", "stopped");
  const paused = await health("stopped");
  expect(paused?.Status).toBe("unhealthy");
  await docker("unpause", "stopped");
  await becomes("stopped", "healthy");
  await docker("kill", "stopped");
  await docker("wait", "stopped");
  expect((await health("stopped"))?.Status).toBe("unhealthy");
  expect(await docker("ps", "-a", "--filter", "name=stopped", "--format", "{{.Status}}")).toStartWith("Exited (137)");
  await docker("start", "stopped");
  await becomes("stopped", "healthy");
});

test("health goes on over a kill and a restart of the daemon", async () => {
  await run("lasting", ...probe, "--health-retries", "1");
  await docker("exec", "lasting", "touch", "/healthy");
  await becomes("lasting", "healthy");
  await engine.stop("SIGKILL");
  await engine.start();
  expect((await health("lasting"))?.Status).toBe("healthy");
  await docker("exec", "lasting", "busybox", "rm", "/healthy");
  await becomes("lasting", "unhealthy");
});

test("a health check that cannot be is refused", async () => {
  const refused = async (healthcheck: unknown) => {
    const body = { Image: "busybox", Cmd: ["true"], Healthcheck: healthcheck };
    const response = await engine.api("POST", "/containers/create", body);
    return [response.status, ((await response.json()) as { message: string }).message];
  };
  expect(await refused({ Test: ["CMD", "true"], Interval: 5 })).toEqual([
    400,
    "Interval in Healthcheck cannot be less than 1ms",
  ]);
  expect(await refused({ Test: ["CMD", "true"], Retries: -1 })).toEqual([
    400,
    "Retries in Healthcheck cannot be negative",
  ]);
  expect(await refused({ Test: ["DANCE"] })).toEqual([
    400,
    'Unknown healthcheck type "DANCE": it is one of NONE, CMD, CMD-SHELL',
  ]);
});

function processesOf(commandLine: string): string[] {
  return readdirSync("/proc").filter(
    (pid) =>
      /^\d+$/.test(pid) &&
      existsSync(`/proc/${pid}/cmdline`) &&
      readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim() === commandLine,
  );
}
