// SIGKILL to a container's monitor: the container dies with it, is recorded as killed, and everything is given back.
import { expect, setDefaultTimeout, test } from "bun:test";
import { existsSync } from "node:fs";
import { settledEngine } from "../support/busybox-engine.ts";
import { expectTraces } from "../support/engine-traces.ts";
import { waitFor } from "../support/test-engine.ts";

setDefaultTimeout(60_000);

const { engine, before } = settledEngine();

async function run(host: Record<string, unknown> = {}): Promise<{ id: string; pid: number; monitor: number }> {
  const request = { Image: "busybox", Cmd: ["sleep", "1000"], HostConfig: host };
  const { Id: id } = (await (await engine.api("POST", "/containers/create", request)).json()) as { Id: string };
  const response = await engine.api("POST", `/containers/${id}/start`);
  if (!response.ok) throw new Error(await response.text());
  const { Pid: pid } = (await engine.inspect(id)).State;
  const status = await Bun.file(`/proc/${pid}/status`).text();
  return { id, pid, monitor: Number(/^PPid:\s*(\d+)/m.exec(status)?.[1]) };
}

test("a container whose monitor is killed ends as killed, holds nothing any more, and can be started again", async () => {
  const { id, pid, monitor } = await run({ PortBindings: { "80/tcp": [{ HostPort: "" }] } });
  process.kill(monitor, "SIGKILL");
  await waitFor("the process to die with its monitor", () => !existsSync(`/proc/${pid}`));
  await waitFor("the end to be recorded", async () => (await engine.inspect(id)).State.Status === "exited");
  expect((await engine.inspect(id)).State).toMatchObject({ ExitCode: 137, OOMKilled: false, Pid: 0 });
  expect((await engine.api("POST", `/containers/${id}/start`)).status).toBe(204);
  expect((await engine.inspect(id)).State.Running).toBe(true);
  expect((await engine.api("DELETE", `/containers/${id}?force=1&v=1`)).status).toBe(204);
  await expectTraces(engine, before);
});

test("with --rm it is removed, with a restart policy it comes back", async () => {
  const removed = await run({ AutoRemove: true });
  const restarted = await run({ RestartPolicy: { Name: "always" } });
  process.kill(removed.monitor, "SIGKILL");
  process.kill(restarted.monitor, "SIGKILL");
  await waitFor("its removal", async () => (await engine.api("GET", `/containers/${removed.id}/json`)).status === 404);
  await waitFor("its restart", async () => {
    const { State } = await engine.inspect(restarted.id);
    return State.Running && State.Pid !== restarted.pid;
  });
  await engine.api("DELETE", `/containers/${restarted.id}?force=1&v=1`);
  await expectTraces(engine, before);
});

test("monitor and daemon killed together: the next daemon records the end and gives everything back", async () => {
  const { id, pid, monitor } = await run();
  process.kill(engine.pid, "SIGKILL");
  process.kill(monitor, "SIGKILL");
  await engine.stop("SIGKILL");
  await waitFor("the process to die", () => !existsSync(`/proc/${pid}`));
  await engine.start();
  expect((await engine.inspect(id)).State).toMatchObject({ Status: "exited", ExitCode: 137 });
  expect((await engine.api("DELETE", `/containers/${id}?v=1`)).status).toBe(204);
  await expectTraces(engine, before);
});
