// SIGKILL to the daemon while containers run: they go on, and the next daemon knows what happened meanwhile.
import { expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { ContainerCreateRequest } from "../../src/spec/index.ts";
import { Hijacked, demultiplex, textOf } from "../support/api-client.ts";
import { settledEngine } from "../support/busybox-engine.ts";
import { expectTraces, tracesOf } from "../support/engine-traces.ts";
import { waitFor } from "../support/test-engine.ts";

setDefaultTimeout(60_000);

const { engine, before } = settledEngine();

async function post(path: string, body?: unknown): Promise<Response> {
  const response = await engine.api("POST", path, body);
  if (!response.ok && response.status !== 304) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  return response;
}

async function run(request: ContainerCreateRequest): Promise<string> {
  const { Id } = (await (await post("/containers/create", { Image: "busybox", ...request })).json()) as { Id: string };
  await post(`/containers/${Id}/start`);
  return Id;
}

async function remove(id: string): Promise<void> {
  const response = await engine.api("DELETE", `/containers/${id}?force=1&v=1`);
  if (!response.ok) throw new Error(await response.text());
}

async function restart(): Promise<void> {
  await engine.stop("SIGKILL");
  await engine.start();
}

async function logs(id: string): Promise<string> {
  const response = await engine.api("GET", `/containers/${id}/logs?stdout=1&stderr=1`);
  return textOf(demultiplex(new Uint8Array(await response.arrayBuffer())));
}

async function exec(id: string, ...words: string[]): Promise<string> {
  const { Id } = (await (
    await post(`/containers/${id}/exec`, { Cmd: words, AttachStdout: true, AttachStderr: true })
  ).json()) as { Id: string };
  const session = await Hijacked.open(engine, `/exec/${Id}/start`, { Detach: false });
  return textOf(demultiplex(await session.output));
}

const counting = ["sh", "-c", "i=0; while true; do i=$((i+1)); echo line $i; sleep 0.05; done"];

test("a container goes on and goes on logging without a daemon, and is served again by the next one", async () => {
  const id = await run({ Cmd: counting, HostConfig: { Binds: ["kept:/data"] } });
  await waitFor("the first line", async () => (await logs(id)).includes("line 1\n"));
  const { State: seen } = await engine.inspect(id);
  const log = join(engine.root, "containers", id, `${id}.log`);
  await engine.stop("SIGKILL");
  const size = readFileSync(log).length;
  await waitFor("the log to grow without a daemon", () => readFileSync(log).length > size + 100);
  await engine.start();
  const { State: now } = await engine.inspect(id);
  expect(now).toEqual(seen);
  const lines = (await logs(id)).trim().split("\n");
  expect(lines).toEqual(lines.map((_, index) => `line ${index + 1}`));
  expect(await exec(id, "echo", "entered")).toBe("entered\n");
  const attached = await Hijacked.open(engine, `/containers/${id}/attach?stream=1&stdout=1&stderr=1`);
  await waitFor("live output", () => attached.text.includes("line "));
  await post(`/containers/${id}/stop?t=0`);
  await attached.output;
  expect((await engine.inspect(id)).State).toMatchObject({ Status: "exited", ExitCode: 137, Running: false });
  await remove(id);
  await engine.api("DELETE", "/volumes/kept");
  await expectTraces(engine, before);
});

test("a terminal survives the daemon", async () => {
  const id = await run({ Cmd: ["sh"], Tty: true, OpenStdin: true });
  await restart();
  const attached = await Hijacked.open(engine, `/containers/${id}/attach?stream=1&stdin=1&stdout=1`);
  attached.socket.write("echo $((6*7)); stty size\n");
  await waitFor("the answer", () => attached.text.includes("42\r\n"));
  await post(`/containers/${id}/resize?h=33&w=44`);
  attached.socket.write("stty size\n");
  await waitFor("the new size", () => attached.text.includes("33 44"));
  attached.socket.write("exit 5\n");
  await attached.output;
  await waitFor("the end", async () => (await engine.inspect(id)).State.ExitCode === 5);
  await remove(id);
  await expectTraces(engine, before);
});

test("a published port is served without a daemon and after a restart, and is free when the container has gone", async () => {
  const script = "while true; do printf 'HTTP/1.0 200 OK\\r\\n\\r\\nhello' | nc -l -p 80; done";
  const id = await run({
    Cmd: ["/bin/busybox", "sh", "-c", script.replace("nc", "/bin/busybox nc")],
    ExposedPorts: { "80/tcp": {} },
    HostConfig: { PortBindings: { "80/tcp": [{ HostPort: "" }] } },
  });
  const port = (await engine.inspect(id)).NetworkSettings.Ports["80/tcp"]?.[0]?.HostPort ?? "";
  const page = async (): Promise<string> =>
    Bun.spawnSync(["curl", "-s", "--max-time", "2", `http://127.0.0.1:${port}/`]).stdout.toString();
  await waitFor("the page", async () => (await page()) === "hello");
  await engine.stop("SIGKILL");
  await waitFor("the page without a daemon", async () => (await page()) === "hello");
  await engine.start();
  await waitFor("the page after the restart", async () => (await page()) === "hello");
  expect((await engine.inspect(id)).NetworkSettings.Ports["80/tcp"]?.[0]?.HostPort).toBe(port);
  await remove(id);
  const server = Bun.listen({ hostname: "0.0.0.0", port: Number(port), socket: { data() {} } });
  server.stop(true);
  await expectTraces(engine, before);
});

test("ends that no daemon saw are known to the next one: code, signal, time, and what goes with --rm is gone", async () => {
  const waiting = (code: string): string[] => ["sh", "-c", `while [ ! -e /go/file ]; do sleep 0.02; done; ${code}`];
  const folder = join(engine.scratch.path, "go");
  const options = { Binds: [`${folder}:/go`] };
  const seven = await run({ Cmd: waiting("echo last words; exit 7"), HostConfig: options });
  const killed = await run({ Cmd: ["sleep", "1000"] });
  const removed = await run({
    Cmd: waiting("exit 0"),
    Volumes: { "/anonymous": {} },
    HostConfig: { ...options, AutoRemove: true },
  });
  const eaten = await run({
    Cmd: [
      "sh",
      "-c",
      "while [ ! -e /go/file ]; do sleep 0.02; done; dd if=/dev/zero of=/dev/null bs=100M count=1; sleep 1",
    ],
    HostConfig: { ...options, Memory: 16 * 1024 * 1024, MemorySwap: 16 * 1024 * 1024 },
  });
  const pids = await Promise.all([seven, killed, removed].map(async (id) => (await engine.inspect(id)).State.Pid));
  await engine.stop("SIGKILL");
  const lower = Date.now();
  await Bun.write(join(folder, "file"), "");
  process.kill(pids[1] ?? 0, "SIGKILL");
  await waitFor("the containers to end", () => pids.every((pid) => !existsSync(`/proc/${pid}`)));
  const upper = Date.now();
  await waitFor("the record of the one that was killed", () =>
    existsSync(join(engine.run, eaten.slice(0, 24), "exit")),
  );
  await engine.start();
  const { State: ended } = await engine.inspect(seven);
  expect(ended).toMatchObject({ Status: "exited", ExitCode: 7, OOMKilled: false, Pid: 0, Error: "" });
  expect(Date.parse(ended.FinishedAt)).toBeWithin(lower - 5, upper + 5);
  expect(await logs(seven)).toBe("last words\n");
  expect((await engine.inspect(killed)).State).toMatchObject({ Status: "exited", ExitCode: 137 });
  expect((await engine.inspect(eaten)).State).toMatchObject({ Status: "exited", OOMKilled: true });
  expect((await engine.api("GET", `/containers/${removed}/json`)).status).toBe(404);
  for (const id of [seven, killed, eaten]) await remove(id);
  await expectTraces(engine, before);
});

test("restart policies are applied to what ended without a daemon, once each", async () => {
  const policy = (Name: "always" | "unless-stopped" | "on-failure" | "no"): ContainerCreateRequest => ({
    Cmd: ["sh", "-c", "echo begun; sleep 1000 & wait"],
    HostConfig: { RestartPolicy: { Name, MaximumRetryCount: 0 } },
  });
  const names = ["always", "unless-stopped", "on-failure", "no"] as const;
  const ids = await Promise.all(names.map((name) => run(policy(name))));
  const stopped = await run(policy("unless-stopped"));
  await post(`/containers/${stopped}/stop?t=0`);
  const pids = await Promise.all(ids.map(async (id) => (await engine.inspect(id)).State.Pid));
  await engine.stop("SIGKILL");
  for (const pid of pids) process.kill(pid, "SIGKILL");
  await waitFor("the ends", () => pids.every((pid) => !existsSync(`/proc/${pid}`)));
  await engine.start();
  for (const id of ids.slice(0, 3)) {
    await waitFor("the restart", async () => (await engine.inspect(id)).State.Running);
    await waitFor("its words", async () => (await logs(id)) === "begun\nbegun\n");
  }
  expect((await engine.inspect(ids[3] ?? "")).State).toMatchObject({ Status: "exited", ExitCode: 137 });
  expect((await engine.inspect(stopped)).State.Running).toBe(false);
  // A second start of the same container would show as a third line and a second monitor.
  expect(tracesOf(engine).filter((line) => line === "process in /monitors")).toEqual(
    before.filter((line) => line === "process in /monitors").concat(["process in /monitors"]),
  );
  for (const id of [...ids, stopped]) await remove(id);
  await expectTraces(engine, before);
});

test("a paused container stays paused, and can be thawed by the next daemon", async () => {
  const id = await run({ Cmd: ["sleep", "1000"] });
  await post(`/containers/${id}/pause`);
  await restart();
  expect((await engine.inspect(id)).State.Status).toBe("paused");
  await post(`/containers/${id}/unpause`);
  expect(await exec(id, "echo", "thawed")).toBe("thawed\n");
  await remove(id);
  await expectTraces(engine, before);
});

test("names, ids and addresses in use stay in use", async () => {
  const response = await post("/containers/create?name=first", { Image: "busybox", Cmd: ["sleep", "1000"] });
  const { Id } = (await response.json()) as { Id: string };
  await post(`/containers/${Id}/start`);
  const address = (await engine.inspect(Id)).NetworkSettings.IPAddress;
  await restart();
  expect((await engine.api("POST", "/containers/create?name=first", { Image: "busybox" })).status).not.toBe(201);
  const other = await run({ Cmd: ["sleep", "1000"] });
  expect((await engine.inspect(other)).NetworkSettings.IPAddress).not.toBe(address);
  expect((await engine.inspect(Id)).NetworkSettings.IPAddress).toBe(address);
  for (const id of [Id, other]) await remove(id);
  await expectTraces(engine, before);
});
