// That the kernel enforces what the files say, seen by the processes that run into the limits.
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { newGroups, until } from "../support/groups.ts";

const megabyte = 1024 * 1024;

test("a fork beyond the limit of processes fails, and the group counts it", async () => {
  await using test = newGroups();
  const path = test.newPath();
  test.groups.create(path, { pids: 3 });
  const child = test.spawn(path, ["sh", "-c", "sleep 5 & sleep 5 & sleep 5 & wait"]);
  await until("a fork was refused", () => /^max [1-9]/.test(test.file(path, "pids.events")));
  expect(test.groups.processes(path).length).toBeLessThanOrEqual(3);
  await test.groups.killAll(path);
  expect(await new Response(child.stderr).text()).toMatch(/fork/i);
});

test("a process that takes more memory than allowed is killed, and the counter tells so", async () => {
  await using test = newGroups();
  const path = test.newPath();
  test.groups.create(path, { memory: 16 * megabyte, memorySwap: 16 * megabyte });
  const counter = test.groups.oomControlFile(path);
  expect(readFileSync(counter ?? "", "utf8")).toMatch(/^oom_kill 0$/m);
  const child = test.spawn(path, ["dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"]);
  await child.exited;
  expect(child.signalCode).toBe("SIGKILL");
  expect(readFileSync(counter ?? "", "utf8")).toMatch(/^oom_kill 1$/m);
});

test("a busy loop gets the fifth of a CPU that its quota is", async () => {
  await using test = newGroups();
  const path = test.newPath();
  test.groups.create(path, { cpuQuota: 20000, cpuPeriod: 100000 });
  const spinner = test.spawn(path, ["sh", "-c", "while :; do :; done"]);
  const read = () => test.groups.stats(path).cpu_stats;
  await until("it is throttled", () => read().throttling_data.throttled_periods >= 1);
  const before = read();
  // Counted by the kernel's own periods, so that a slow machine is no failure.
  await until("ten periods passed", () => read().throttling_data.periods >= before.throttling_data.periods + 10);
  const after = read();
  const periods = after.throttling_data.periods - before.throttling_data.periods;
  const usedMs = (after.cpu_usage.total_usage - before.cpu_usage.total_usage) / 1e6;
  expect(usedMs / (periods * 100)).toBeGreaterThan(0.1);
  expect(usedMs / (periods * 100)).toBeLessThan(0.3);
  expect(after.throttling_data.throttled_time).toBeGreaterThan(before.throttling_data.throttled_time);
  expect(spinner.exitCode).toBe(null);
});

test("a process runs on the CPUs that its group has", async () => {
  await using test = newGroups();
  const path = test.newPath();
  test.groups.create(path, { cpusetCpus: "0", cpusetMems: "0" });
  const child = test.spawn(path, ["cat", "/proc/self/status"]);
  expect(await new Response(child.stdout).text()).toMatch(/^Cpus_allowed_list:\s+0$/m);
});

test("stats count what the group's processes do", async () => {
  await using test = newGroups();
  const path = test.newPath();
  test.groups.create(path, { memory: 256 * megabyte, pids: 20 });
  test.spawn(path, ["sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; exec sleep 60"]);
  await until("it has spun", () => test.groups.stats(path).cpu_stats.cpu_usage.total_usage > 1e6);
  const stats = test.groups.stats(path);
  expect(stats.pids_stats).toEqual({ current: 1, limit: 20 });
  expect(stats.memory_stats.limit).toBe(256 * megabyte);
  expect(stats.memory_stats.usage).toBeGreaterThan(0);
  expect(stats.memory_stats.stats).toHaveProperty("pgfault");
  expect(stats.cpu_stats.system_cpu_usage).toBeGreaterThan(stats.cpu_stats.cpu_usage.total_usage);
  expect(stats.cpu_stats.online_cpus).toBe(navigator.hardwareConcurrency);
  expect(JSON.parse(JSON.stringify(stats))).toEqual(stats as never);
});

test("a group without a limit shows the machine's memory and no limit of processes", async () => {
  await using test = newGroups();
  const path = test.newPath();
  test.groups.create(path, {});
  const stats = test.groups.stats(path);
  const total = /^MemTotal:\s+(\d+) kB$/m.exec(readFileSync("/proc/meminfo", "utf8"))?.[1];
  expect(stats.memory_stats.limit).toBe(Number(total) * 1024);
  expect(stats.pids_stats).toEqual({ current: 0 });
});
