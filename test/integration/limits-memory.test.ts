// Memory, process and device limits of a container, from the request to the group's files and to what its processes may do.
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { busyboxEngine } from "../support/busybox-engine.ts";
import { control, controlFile, keyed, limitsAreV2 } from "../support/control-files.ts";
import {
  ask,
  createContainer,
  execContainer,
  logsOf,
  refusal,
  removeContainer,
  runContainer,
  startContainer,
  waitContainer,
} from "../support/engine-containers.ts";
import { waitFor } from "../support/test-engine.ts";

setDefaultTimeout(60_000);

const engine = busyboxEngine();
const mebibyte = 2 ** 20;

async function pidOf(id: string): Promise<number> {
  return (await engine.inspect(id)).State.Pid;
}

/** Bytes of memory, and of memory and swap together; undefined without swap accounting or a limit. */
function memoryOf(pid: number): { memory: number; total: number | undefined } {
  const memory = Number(control(pid, "memory.max", "memory.limit_in_bytes"));
  try {
    const swap = Number(control(pid, "memory.swap.max", "memory.memsw.limit_in_bytes"));
    return { memory, total: limitsAreV2 ? memory + swap : swap };
  } catch {
    return { memory, total: undefined };
  }
}

describe("--memory", () => {
  test("and the limits beside it are in the group's files, and an update changes them live", async () => {
    const host = { Memory: 500 * mebibyte, MemoryReservation: 100 * mebibyte, PidsLimit: 50 };
    const id = await startContainer(engine, ["sleep", "60"], { host });
    const pid = await pidOf(id);
    const { memory, total = 1000 * mebibyte } = memoryOf(pid);
    expect([memory, total]).toEqual([500 * mebibyte, 1000 * mebibyte]);
    expect(control(pid, "memory.low", "memory.soft_limit_in_bytes")).toBe(String(100 * mebibyte));
    expect(control(pid, "pids.max")).toBe("50");
    await ask(engine, "POST", `/containers/${id}/update`, {
      Memory: 300 * mebibyte,
      MemorySwap: 400 * mebibyte,
      PidsLimit: 20,
    });
    const updated = memoryOf(pid);
    expect([updated.memory, updated.total ?? 400 * mebibyte]).toEqual([300 * mebibyte, 400 * mebibyte]);
    expect(control(pid, "pids.max")).toBe("20");
    expect((await engine.inspect(id)).HostConfig).toMatchObject({ Memory: 300 * mebibyte, PidsLimit: 20 });
    await removeContainer(engine, id);
  });

  test("a process that takes more is killed: exit code 137, State.OOMKilled, and an event before the end's", async () => {
    const since = Math.floor(Date.now() / 1000) - 1;
    const eater = ["dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"];
    const id = await startContainer(engine, eater, { host: { Memory: 16 * mebibyte, MemorySwap: 16 * mebibyte } });
    expect(await waitContainer(engine, id)).toBe(137);
    expect((await engine.inspect(id)).State).toMatchObject({ OOMKilled: true, ExitCode: 137, Status: "exited" });
    const filters = encodeURIComponent(JSON.stringify({ container: [id] }));
    const until = (Date.now() / 1000).toFixed(3);
    const events = await engine.api("GET", `/events?since=${since}&until=${until}&filters=${filters}`);
    const actions = (await events.text())
      .trim()
      .split("\n")
      .map((line) => (JSON.parse(line) as { Action: string }).Action);
    expect(actions.slice(-3)).toEqual(["start", "oom", "die"]);
    await removeContainer(engine, id);
  });

  test("one that only its child passed is told as well, and one that ends by itself is not", async () => {
    const command = "dd if=/dev/zero of=/dev/null bs=64M count=1 2>/dev/null; echo child $?; exit 3";
    const host = { Memory: 16 * mebibyte, MemorySwap: 16 * mebibyte };
    const id = await startContainer(engine, command, { host });
    expect(await waitContainer(engine, id)).toBe(3);
    expect((await logsOf(engine, id)).stdout).toContain("child 137\n");
    expect((await engine.inspect(id)).State).toMatchObject({ OOMKilled: true, ExitCode: 3 });
    const other = await startContainer(engine, "kill -9 $$; exit 4", { host });
    await waitContainer(engine, other);
    expect((await engine.inspect(other)).State.OOMKilled).toBe(false);
    await Promise.all([id, other].map((one) => removeContainer(engine, one)));
  });

  test("--shm-size is /dev/shm's size, and what lies there counts", async () => {
    const host = { ShmSize: 3 * mebibyte };
    const { stdout } = await runContainer(
      engine,
      "busybox df -k /dev/shm; dd if=/dev/zero of=/dev/shm/x bs=1M count=9",
      {
        host,
      },
    );
    expect(stdout).toMatch(/^shm\s+3072\s/m);
    const limited = { Memory: 16 * mebibyte, MemorySwap: 16 * mebibyte, ShmSize: 64 * mebibyte };
    const { exitCode } = await runContainer(engine, ["dd", "if=/dev/zero", "of=/dev/shm/x", "bs=1M", "count=40"], {
      host: limited,
    });
    expect(exitCode).toBe(137);
  });

  test("--oom-score-adj is what the kernel weighs it by", async () => {
    const { stdout } = await runContainer(engine, ["cat", "/proc/self/oom_score_adj"], { host: { OomScoreAdj: 321 } });
    expect(stdout).toBe("321\n");
  });
});

test("--pids-limit refuses forks, and the group counts them", async () => {
  const command = "for i in 1 2 3 4 5 6 7 8 9; do sleep 60 & done; echo all";
  const id = await startContainer(engine, command, { host: { PidsLimit: 5 } });
  expect(await waitContainer(engine, id)).not.toBe(0);
  const { stdout, stderr } = await logsOf(engine, id);
  expect(stdout).toBe("");
  expect(stderr).toContain("can't fork");
  await removeContainer(engine, id);
  // An exec counts too: it joins the group first of all.
  const full = await startContainer(engine, "sleep 60 & sleep 60 & wait", { host: { PidsLimit: 3 } });
  const pid = await pidOf(full);
  await waitFor("its children", () => control(pid, "pids.current") === "3");
  const refused = await execContainer(engine, full, ["true"]);
  expect(refused).toMatchObject({ exitCode: 126, stdout: expect.stringContaining("esource temporarily unavailable") });
  expect(keyed(control(pid, "pids.events"), "max")).toBeGreaterThan(0);
  await ask(engine, "POST", `/containers/${full}/update`, { PidsLimit: 20 });
  expect((await execContainer(engine, full, ["true"])).exitCode).toBe(0);
  await removeContainer(engine, full);
});

describe("a paused container", () => {
  const frozen = (pid: number) => control(pid, "cgroup.freeze", "freezer.state");
  const isFrozen = limitsAreV2 ? "1" : "FROZEN";

  test("does nothing, refuses exec, and goes on when unpaused", async () => {
    const id = await startContainer(engine, "while :; do echo x >> /tmp/x; done");
    const pid = await pidOf(id);
    await ask(engine, "POST", `/containers/${id}/pause`);
    expect(frozen(pid)).toBe(isFrozen);
    expect((await engine.inspect(id)).State).toMatchObject({ Status: "paused", Paused: true, Running: true });
    const usage = () =>
      limitsAreV2 ? keyed(control(pid, "cpu.stat"), "usage_usec") : Number(control(pid, "cpuacct.usage"));
    const before = usage();
    expect(await refusal(engine, "POST", `/containers/${id}/exec`, { Cmd: ["true"] })).toContain("paused");
    expect(await refusal(engine, "POST", `/containers/${id}/pause`)).toContain("already paused");
    expect(usage()).toBe(before);
    await ask(engine, "POST", `/containers/${id}/unpause`);
    await waitFor("it to go on", () => usage() > before);
    await removeContainer(engine, id);
  });

  for (const [how, path] of [
    ["kill", "kill"],
    ["stop", "stop?t=1"],
  ] as const) {
    test(`is thawed by a ${how}, or it could not die`, async () => {
      const id = await startContainer(engine, ["sleep", "60"]);
      await ask(engine, "POST", `/containers/${id}/pause`);
      expect(frozen(await pidOf(id))).toBe(isFrozen);
      await ask(engine, "POST", `/containers/${id}/${path}`);
      expect(await waitContainer(engine, id)).toBe(137);
      expect((await engine.inspect(id)).State).toMatchObject({ Status: "exited", Paused: false });
      await removeContainer(engine, id);
    });
  }

  test("is removed by force", async () => {
    const id = await startContainer(engine, ["sleep", "60"]);
    await ask(engine, "POST", `/containers/${id}/pause`);
    await removeContainer(engine, id);
    expect((await engine.api("GET", `/containers/${id}/json`)).status).toBe(404);
  });
});

describe("devices", () => {
  // A node of the kernel's log, which no container has by itself.
  const node = "mknod /tmp/node c 1 11 && (: > /tmp/node) && echo opened";

  test("a device that nobody allowed has a node only, which cannot be opened", async () => {
    const { stdout, stderr, exitCode } = await runContainer(engine, node);
    expect(stdout).toBe("");
    expect(stderr).toContain("Operation not permitted");
    expect(exitCode).not.toBe(0);
    const list = await runContainer(engine, "ls /dev");
    expect(list.stdout.trim().split(/\s+/).sort()).toEqual(
      "core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero"
        .split(" ")
        .filter((name) => name !== "core" || list.stdout.includes("core")),
    );
  });

  test("--device-cgroup-rule allows it, and only as it says", async () => {
    const writable = { DeviceCgroupRules: ["c 1:11 wm"] };
    expect((await runContainer(engine, node, { host: writable })).stdout).toBe("opened\n");
    const readable = { DeviceCgroupRules: ["c 1:11 rm"] };
    expect((await runContainer(engine, node, { host: readable })).stderr).toContain("Operation not permitted");
  });

  test("--device brings its node under the name asked for, with its rights", async () => {
    const device = { PathOnHost: "/dev/kmsg", PathInContainer: "/dev/log-of-kernel", CgroupPermissions: "w" };
    const command =
      "stat -c '%t:%T' /dev/log-of-kernel; (: > /dev/log-of-kernel) && echo written; (: < /dev/log-of-kernel)";
    const { stdout, stderr } = await runContainer(engine, command, { host: { Devices: [device] } });
    expect(stdout).toBe("1:b\nwritten\n");
    expect(stderr).toContain("Operation not permitted");
    // The shell itself reports what it could not open.
    expect(stderr).toContain("log-of-kernel");
  });

  test("one that is not there is refused before anything is left", async () => {
    const id = await createContainer(engine, ["true"], {
      host: { Devices: [{ PathOnHost: "/dev/nothing", PathInContainer: "/dev/x", CgroupPermissions: "rwm" }] },
    });
    expect(await refusal(engine, "POST", `/containers/${id}/start`)).toContain("/dev/nothing");
    await removeContainer(engine, id);
  });

  test("a privileged container may open any", async () => {
    expect((await runContainer(engine, node, { host: { Privileged: true } })).stdout).toBe("opened\n");
  });
});

test("stats say what the group's files say", async () => {
  const host = { Memory: 64 * mebibyte, PidsLimit: 30, NetworkMode: "bridge" };
  const id = await startContainer(engine, "sleep 60 & wait", { host });
  const pid = await pidOf(id);
  await waitFor("it to sleep", () => control(pid, "pids.current") === "2");
  const usage = () => ({
    cpu: limitsAreV2 ? keyed(control(pid, "cpu.stat"), "usage_usec") * 1000 : Number(control(pid, "cpuacct.usage")),
    memory: Number(control(pid, "memory.current", "memory.usage_in_bytes")),
  });
  const before = usage();
  const stats = await ask<{
    id: string;
    cpu_stats: { cpu_usage: { total_usage: number }; online_cpus: number };
    memory_stats: { usage: number; limit: number; stats: Record<string, number> };
    pids_stats: { current: number; limit: number };
    networks: Record<string, { rx_packets: number }>;
  }>(engine, "GET", `/containers/${id}/stats?stream=0&one-shot=1`);
  const after = usage();
  expect(stats.id).toBe(id);
  expect(stats.cpu_stats.cpu_usage.total_usage).toBeWithin(before.cpu, after.cpu + 1);
  expect(stats.memory_stats.usage).toBeWithin(
    Math.min(before.memory, after.memory),
    Math.max(before.memory, after.memory) + 1,
  );
  expect(stats.memory_stats.limit).toBe(64 * mebibyte);
  expect(stats.memory_stats.stats["pgfault"]).toBe(keyed(control(pid, "memory.stat"), "pgfault"));
  expect(stats.pids_stats).toMatchObject({ current: 2, limit: 30 });
  expect(stats.cpu_stats.online_cpus).toBe(navigator.hardwareConcurrency);
  const [line = ""] = readFileSync(`/proc/${pid}/net/dev`, "utf8").match(/eth0:.*/) ?? [];
  const packets = Number(line.trim().split(/\s+/)[2]);
  expect(stats.networks["eth0"]?.rx_packets).toBeWithin(0, packets + 1);
  expect(existsSync(controlFile(pid, "pids.max"))).toBe(true);
  await removeContainer(engine, id);
});
