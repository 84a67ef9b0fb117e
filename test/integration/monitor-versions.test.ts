// A daemon that was replaced while containers run: their monitors are the helper of the release before.
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { cpSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { compileHelper } from "../../scripts/compile-helper.ts";
import { MonitorConnection } from "../../src/runtime/index.ts";
import { Hijacked, demultiplex, textOf } from "../support/api-client.ts";
import { importBusybox } from "../support/busybox-image.ts";
import {
  ask,
  createContainer,
  execContainer,
  logsOf,
  refusal,
  removeContainer,
  startContainer,
  waitContainer,
} from "../support/engine-containers.ts";
import { newScratch } from "../support/scratch.ts";
import { TestEngine, projectRoot, waitFor } from "../support/test-engine.ts";

setDefaultTimeout(60_000);

const engine = new TestEngine();
const scratch = newScratch();
/** A release without terminals, whose op set is older. */
const previous = join(scratch.path, "previous-helper");
/** A release with another protocol. */
const foreign = join(scratch.path, "foreign-helper");

beforeAll(async () => {
  const folder = join(scratch.path, "helper");
  cpSync(join(projectRoot, "helper"), folder, { recursive: true });
  const table = readFileSync(join(folder, "ops.c"), "utf8");
  const older = table.replace(/^ *\{"send-fd".*\n/m, "");
  expect(older).not.toBe(table);
  writeFileSync(join(folder, "ops.c"), older);
  await Promise.all([
    compileHelper(previous, { folder, texts: { OP_SET: "0" } }),
    compileHelper(foreign, { texts: { PROTOCOL_VERSION: "99" } }),
  ]);
  await engine.start();
  await importBusybox(engine);
});
afterAll(async () => {
  await engine[Symbol.asyncDispose]();
  await scratch[Symbol.asyncDispose]();
});

/** Ends the daemon and starts one with that helper, or the present one. */
async function replaceDaemon(helper?: string): Promise<void> {
  await engine.stop();
  await engine.start(helper === undefined ? [] : ["--helper", helper]);
}

async function monitorOf(id: string): Promise<number> {
  const { Pid } = (await engine.inspect(id)).State;
  return Number(/^PPid:\t(\d+)$/m.exec(readFileSync(`/proc/${Pid}/status`, "utf8"))?.[1]);
}

describe("a monitor of the release before", () => {
  const counting =
    "trap 'echo bye; exit 7' TERM; echo first; while read line; do echo got $line; done; while :; do sleep 0.05; done";
  let id = "";

  beforeAll(async () => {
    await replaceDaemon(previous);
    id = await startContainer(engine, counting, { OpenStdin: true, AttachStdin: true });
    await waitFor("its first line", async () => (await logsOf(engine, id)).stdout === "first\n");
    const tty = await createContainer(engine, ["true"], { Tty: true });
    expect(await refusal(engine, "POST", `/containers/${tty}/start`)).toContain("send-fd");
    await removeContainer(engine, tty);
    await replaceDaemon();
  });

  test("goes on, and says in its hello which op set it has", async () => {
    expect((await engine.inspect(id)).State).toMatchObject({ Running: true });
    // A helper runs from a sealed copy in memory.
    expect(readlinkSync(`/proc/${await monitorOf(id)}/exe`)).not.toContain("dist");
    using connection = await MonitorConnection.connect(join(engine.run, id.slice(0, 24), "monitor.sock"));
    expect(await connection.hello()).toMatchObject({ opSet: 0, containerId: id });
  });

  test("runs an exec with the present helper, which the daemon passes: a terminal, that it knows nothing of", async () => {
    expect(await execContainer(engine, id, "echo out; echo err >&2; exit 5")).toMatchObject({
      stdout: "out\n",
      stderr: "err\n",
      exitCode: 5,
    });
    const { Id: exec } = await ask<{ Id: string }>(engine, "POST", `/containers/${id}/exec`, {
      Cmd: ["tty"],
      Tty: true,
      AttachStdout: true,
    });
    const session = await Hijacked.open(engine, `/exec/${exec}/start`, { Detach: false, Tty: true });
    expect((await session.output).toString()).toBe("/dev/pts/0\r\n");
  });

  test("serves attach, logs, stop and the exit code", async () => {
    const client = await Hijacked.open(engine, `/containers/${id}/attach?stream=1&stdin=1&stdout=1&stderr=1`);
    client.socket.write("a line\n");
    await waitFor("the answer", () => client.text.includes("got a line\n"));
    client.socket.end();
    await waitFor("the log", async () => (await logsOf(engine, id)).stdout === "first\ngot a line\n");
    const follower = engine.api("GET", `/containers/${id}/logs?stdout=1&follow=1`);
    const ended = waitContainer(engine, id);
    await ask(engine, "POST", `/containers/${id}/stop`);
    expect(await ended).toBe(7);
    expect((await engine.inspect(id)).State).toMatchObject({ Status: "exited", ExitCode: 7 });
    expect(textOf(demultiplex(await (await follower).bytes()))).toBe("first\ngot a line\nbye\n");
    await removeContainer(engine, id);
  });
});

describe("a monitor with another protocol", () => {
  const words = "speaks protocol version 99";
  let id = "";
  let other = "";

  beforeAll(async () => {
    await replaceDaemon(foreign);
    id = await startContainer(engine, "echo here; sleep 60", { name: "foreign" });
    other = await startContainer(engine, "trap 'exit 9' TERM; while :; do sleep 0.05; done");
    await replaceDaemon();
  });

  test("is refused by name for what needs its words; the container is listed, its log read, its limits changed", async () => {
    expect(engine.log).toContain(`${id} ${words}`);
    const list = await ask<{ Id: string; State: string }[]>(engine, "GET", "/containers/json");
    expect(list.filter(({ State }) => State === "running").map((one) => one.Id)).toContain(id);
    expect(await refusal(engine, "POST", `/containers/${id}/attach?stream=1&stdout=1`)).toContain(words);
    expect(await refusal(engine, "POST", `/containers/${id}/resize?h=9&w=9`)).toContain(words);
    const exec = await execContainer(engine, id, ["true"]).catch((error: Error) => error.message);
    expect(JSON.stringify(exec)).toContain(words);
    expect((await logsOf(engine, id)).stdout).toBe("here\n");
    await ask(engine, "POST", `/containers/${id}/update`, { PidsLimit: 33 });
    expect(
      (await ask<{ Processes: string[][] }>(engine, "GET", `/containers/${id}/top`)).Processes.length,
    ).toBeGreaterThan(0);
  });

  test("its container is killed and stopped, with the exit codes that it wrote down, and starts anew", async () => {
    const ended = waitContainer(engine, id);
    await ask(engine, "POST", `/containers/${id}/kill`);
    expect(await ended).toBe(137);
    await ask(engine, "POST", `/containers/${other}/stop`);
    expect((await engine.inspect(other)).State).toMatchObject({ Status: "exited", ExitCode: 9 });
    await ask(engine, "POST", `/containers/${id}/start`);
    expect((await execContainer(engine, id, ["echo", "again"])).stdout).toBe("again\n");
    await Promise.all([id, other].map((one) => removeContainer(engine, one)));
  });
});
