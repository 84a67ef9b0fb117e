import { existsSync, readFileSync, readdirSync } from "node:fs";
import { expect } from "bun:test";
import { expectTraces } from "./engine-traces.ts";
import { waitFor, type TestEngine } from "./test-engine.ts";

/** A moment in the daemon's life: just before the `count`-th call of that name that one of its threads makes. */
export interface Moment {
  readonly call: string;
  readonly count: number;
}

/**
 * Runs `action` while strace(1) waits for the moment, at which it kills the daemon. False when the daemon never came to it; then the
 * action has ended and the daemon still runs. The daemon itself knows nothing of this.
 */
export async function killDaemonAt(engine: TestEngine, moment: Moment, action: () => Promise<void>): Promise<boolean> {
  const threads = readdirSync(`/proc/${engine.pid}/task`);
  const inject = `inject=${moment.call}:signal=SIGKILL:when=${moment.count}`;
  const attach = threads.flatMap((thread) => ["-p", thread]);
  const strace = Bun.spawn(["strace", "-e", `trace=${moment.call}`, "-e", inject, "-o", "/dev/null", ...attach], {
    stdio: ["ignore", "ignore", "ignore"],
  });
  await waitFor("strace to have hold of the daemon", () => {
    if (strace.exitCode !== null) throw new Error(`strace ended with ${strace.exitCode}`);
    return threads.every((thread) => isTraced(engine.pid, thread));
  });
  const isDead = (): boolean => readFileSync(`/proc/${engine.pid}/stat`, "utf8").includes(") Z ");
  await action().catch(() => {});
  // What goes on in the background after the last answer belongs to it.
  await Bun.sleep(30);
  // SIGKILL lets go of the threads at once; at a gentler end strace can wait for a thread that is not there any more.
  strace.kill("SIGKILL");
  await strace.exited;
  return !existsSync(`/proc/${engine.pid}/stat`) || isDead();
}

/** A thread that has ended meanwhile is as good as traced. */
function isTraced(pid: number, thread: string): boolean {
  const path = `/proc/${pid}/task/${thread}/status`;
  return !existsSync(path) || !readFileSync(path, "utf8").includes("TracerPid:\t0\n");
}

const request = {
  Image: "busybox",
  Cmd: ["sleep", "1000"],
  Volumes: { "/anonymous": {} },
  HostConfig: { Binds: ["named:/named"], PortBindings: { "80/tcp": [{ HostPort: "" }] } },
};

async function send(engine: TestEngine, words: { method: string; path: string; body?: unknown }): Promise<Response> {
  const response = await engine.api(words.method, words.path, words.body);
  // Reading the body fails when the daemon dies before it has answered in full.
  const text = await response.text();
  if (!response.ok) throw new Error(`${words.method} ${words.path}: ${response.status} ${text}`);
  return new Response(text);
}

/** Create, start and remove, in one go. Rejects as soon as the daemon is gone. */
export async function liveOnce(engine: TestEngine): Promise<void> {
  const made = await send(engine, { method: "POST", path: "/containers/create?name=victim", body: request });
  const { Id } = (await made.json()) as { Id: string };
  await send(engine, { method: "POST", path: `/containers/${Id}/start` });
  await send(engine, { method: "DELETE", path: `/containers/${Id}?force=1&v=1` });
}

/**
 * Kills the daemon at the moment, starts it again, and demands that what is there is whole: a container that is listed can be started and
 * removed, and afterwards the machine is as it was. False when the moment never came.
 */
export async function surviveKillAt(engine: TestEngine, moment: Moment, before: readonly string[]): Promise<boolean> {
  const killed = await killDaemonAt(engine, moment, () => liveOnce(engine));
  if (!killed) {
    await cleanUp(engine);
    return false;
  }
  await engine.stop("SIGKILL");
  await engine.start();
  const listed = (await (await engine.api("GET", "/containers/json?all=1")).json()) as { Id: string; State: string }[];
  for (const { Id, State } of listed) {
    if (State === "running") continue;
    const started = await engine.api("POST", `/containers/${Id}/start`);
    expect(`${started.status} ${await started.text()}`).toBe("204 ");
    await waitFor("it to run", async () => (await engine.inspect(Id)).State.Running);
  }
  await cleanUp(engine);
  await expectTraces(engine, before);
  return true;
}

async function cleanUp(engine: TestEngine): Promise<void> {
  const listed = (await (await engine.api("GET", "/containers/json?all=1")).json()) as { Id: string }[];
  for (const { Id } of listed) await send(engine, { method: "DELETE", path: `/containers/${Id}?force=1&v=1` });
  await engine.api("DELETE", "/volumes/named");
}
