// The same expectations on v1, hybrid and v2: only the names of files and the kernel's way to write a value differ.
import { expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { cpuWeight, type CgroupLimits } from "../../src/kernel/index.ts";
import { newGroups } from "../support/groups.ts";

const megabyte = 1024 * 1024;

test("a group exists in every hierarchy once it is made, and in none once it is removed", async () => {
  await using test = newGroups();
  const path = test.newPath();
  const directories = test.groups.create(path, {});
  expect(directories.length).toBeGreaterThan(0);
  for (const directory of directories) expect(existsSync(`${directory}/cgroup.procs`)).toBe(true);
  expect(test.groups.list(test.root)).toEqual([path]);
  await test.groups.remove(path);
  for (const directory of directories) expect(existsSync(directory)).toBe(false);
  expect(test.groups.list(test.root)).toEqual([]);
});

test("each limit is in its file", async () => {
  await using test = newGroups();
  const path = test.newPath();
  test.groups.create(path, {
    memory: 64 * megabyte,
    memorySwap: 96 * megabyte,
    memoryReservation: 32 * megabyte,
    cpuShares: 512,
    cpuQuota: 20000,
    cpuPeriod: 50000,
    cpusetCpus: "0",
    cpusetMems: "0",
    pids: 77,
  });
  expect(test.file(path, "memory.limit_in_bytes", "memory.max")).toBe(String(64 * megabyte));
  expect(test.file(path, "memory.soft_limit_in_bytes", "memory.low")).toBe(String(32 * megabyte));
  expect(test.file(path, "cpuset.cpus")).toBe("0");
  expect(test.file(path, "cpuset.mems")).toBe("0");
  expect(test.file(path, "pids.max")).toBe("77");
  if (test.groups.support.version === "v2") {
    expect(test.file(path, "memory.swap.max")).toBe(String(32 * megabyte));
    expect(test.file(path, "cpu.max")).toBe("20000 50000");
    expect(test.file(path, "cpu.weight")).toBe(String(cpuWeight(512)));
  } else {
    expect(test.file(path, "memory.memsw.limit_in_bytes")).toBe(String(96 * megabyte));
    expect(test.file(path, "cpu.cfs_quota_us")).toBe("20000");
    expect(test.file(path, "cpu.cfs_period_us")).toBe("50000");
    expect(test.file(path, "cpu.shares")).toBe("512");
  }
});

test("memory alone brings as much swap again", async () => {
  await using test = newGroups();
  const path = test.newPath();
  test.groups.create(path, { memory: 32 * megabyte });
  const isV2 = test.groups.support.version === "v2";
  const swap = test.file(path, "memory.memsw.limit_in_bytes", "memory.swap.max");
  expect(swap).toBe(String((isV2 ? 32 : 64) * megabyte));
});

test("unlimited swap leaves memory limited", async () => {
  await using test = newGroups();
  const path = test.newPath();
  test.groups.create(path, { memory: 32 * megabyte, memorySwap: -1 });
  expect(test.file(path, "memory.limit_in_bytes", "memory.max")).toBe(String(32 * megabyte));
  expect(test.file(path, "memory.memsw.limit_in_bytes", "memory.swap.max")).toMatch(/^(max|9223372036854771712)$/);
});

test("memory and swap are raised and lowered together, in the order that the kernel takes", async () => {
  await using test = newGroups();
  const path = test.newPath();
  test.groups.create(path, { memory: 32 * megabyte, memorySwap: 32 * megabyte });
  for (const size of [128, 16, 64]) {
    test.groups.apply(path, { memory: size * megabyte, memorySwap: size * megabyte });
    expect(test.file(path, "memory.limit_in_bytes", "memory.max")).toBe(String(size * megabyte));
  }
  test.groups.apply(path, { memory: -1 });
  expect(test.file(path, "memory.limit_in_bytes", "memory.max")).toMatch(/^(max|9223372036854771712)$/);
});

test("an update changes what it names and leaves the rest", async () => {
  await using test = newGroups();
  const path = test.newPath();
  test.groups.create(path, { cpuQuota: 20000, cpuPeriod: 50000, pids: 10 });
  test.groups.apply(path, { cpuQuota: 30000 });
  const isV2 = test.groups.support.version === "v2";
  if (isV2) expect(test.file(path, "cpu.max")).toBe("30000 50000");
  else expect(test.file(path, "cpu.cfs_quota_us") + test.file(path, "cpu.cfs_period_us")).toBe("3000050000");
  expect(test.file(path, "pids.max")).toBe("10");
  test.groups.apply(path, { cpuQuota: -1, pids: -1 });
  expect(test.file(path, "cpu.cfs_quota_us", "cpu.max")).toBe(isV2 ? "max 50000" : "-1");
  expect(test.file(path, "pids.max")).toBe("max");
});

test("a group without limits has the CPUs and memory nodes of its parents, however deep", async () => {
  await using test = newGroups();
  const path = `${test.newPath()}/a/b`;
  test.groups.create(path, {});
  const cpus = readFileSync("/sys/devices/system/cpu/online", "utf8").trim();
  expect(test.file(path, "cpuset.effective_cpus", "cpuset.cpus.effective")).toBe(cpus);
});

test("a weight of block I/O is in its file, or refused by name where no scheduler has one", async () => {
  await using test = newGroups();
  const path = test.newPath();
  try {
    test.groups.create(path, { blkioWeight: 10 });
  } catch (error) {
    expect(String(error)).toContain("this kernel has no scheduler for it");
    return;
  }
  const weight = test.file(path, "blkio.weight", "blkio.bfq.weight", "io.bfq.weight", "io.weight");
  expect(weight).toMatch(/^(10|default 10|default 1)$/);
});

test("read tells the values under their file names, as the kernel has them", async () => {
  await using test = newGroups();
  const path = test.newPath();
  test.groups.create(path, { memory: 32 * megabyte, pids: 5 });
  const values = test.groups.read(path);
  expect(values["pids.max"]).toBe("5");
  for (const [name, value] of Object.entries(values)) {
    if (!/usage|stat|peak|current|events/.test(name)) expect([name, value]).toEqual([name, test.file(path, name)]);
  }
});

test("a refused value leaves no group behind", async () => {
  await using test = newGroups();
  const path = test.newPath();
  expect(() => test.groups.create(path, { pids: 5, cpusetCpus: "4095" })).toThrow('Cannot write "4095"');
  expect(Object.values(test.groups.directories(path)).filter((directory) => existsSync(directory))).toEqual([]);
});

const refusals: readonly [CgroupLimits, string][] = [
  [{ memory: 64 * megabyte, memorySwap: megabyte }, "Minimum memoryswap limit should be larger than memory limit"],
  [{ cpuShares: 1 }, "CPU shares 1 are out of range"],
  [{ cpuPeriod: 10 }, "CPU cfs period can not be less than 1ms"],
  [{ cpuQuota: 999 }, "CPU cfs quota can not be less than 1ms"],
  [{ blkioWeight: 5 }, "Range of blkio weight is from 10 to 1000"],
  [{ memorySwappiness: 101 }, "valid memory swappiness range is 0-100"],
  [{ memory: 1.5 }, "Invalid limit memory: 1.5 is not a whole number"],
];

test.each(refusals)("%j is refused before anything is made", async (limits, message) => {
  await using test = newGroups();
  const path = test.newPath();
  expect(() => test.groups.create(path, limits)).toThrow(message);
  expect(test.groups.list(test.root)).toEqual([]);
});

test.each(["", "/", "relative/path", "/a/../b", "/a//b", "/./a", "/a\nb"])("the path %j is refused", async (path) => {
  await using test = newGroups();
  expect(() => test.groups.create(path, {})).toThrow("Invalid control group path");
});

test("changing a group that is gone says so", async () => {
  await using test = newGroups();
  expect(() => test.groups.apply(test.newPath(), { pids: 3 })).toThrow("No such control group");
});

test("the monitors' group is made once and found again", async () => {
  await using test = newGroups();
  const path = `${test.root}/monitors`;
  const made = test.groups.monitorDirectories(path);
  expect(test.groups.monitorDirectories(path)).toEqual(made);
  for (const directory of made) expect(existsSync(directory)).toBe(true);
});
