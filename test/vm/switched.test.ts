// Run by `npm run test:vm` once a tmpfs is the root: what differs from the machine on which the other tests run.
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { openCgroups, readMounts } from "../../src/kernel/index.ts";
import { newGroups, until } from "../support/groups.ts";
import { pivotInNewNamespace } from "./pivot.ts";

test("the root is a tmpfs, and pivot_root works from it", async () => {
  expect(readMounts().findLast((mount) => mount.target === "/")?.type).toBe("tmpfs");
  const { exitCode, output } = await pivotInNewNamespace();
  expect(output).toBe("old\n");
  expect(exitCode).toBe(0);
});

test("control groups are v2 with every controller that limits need", () => {
  const { version, controllers } = openCgroups().support;
  expect(version).toBe("v2");
  expect(controllers).toEqual(expect.arrayContaining(["cpu", "cpuset", "io", "memory", "pids"]));
  expect(readFileSync("/sys/fs/cgroup/cgroup.controllers", "utf8")).toContain("memory");
});

test("a group that holds processes hands no controller down: a warning, and a refusal once a limit needs one", async () => {
  await using test = newGroups();
  const parent = test.newPath();
  test.groups.create(parent, {});
  test.spawn(parent, ["sleep", "60"]);
  await until("the process is there", () => test.groups.processes(parent).length === 1);
  test.groups.create(`${parent}/free`, {});
  expect(test.warnings.join("\n")).toMatch(/cannot hand down .*memory.*: it holds processes itself/);
  expect(() => test.groups.create(`${parent}/limited`, { memory: 2 ** 26 })).toThrow("Cannot limit memory");
  expect(test.groups.list(parent)).toEqual([`${parent}/free`]);
  const child = test.spawn(`${parent}/free`, ["true"]);
  expect(await child.exited).toBe(0);
});

test("what only v1 can do is a warning", async () => {
  await using test = newGroups();
  test.groups.create(test.newPath(), { memory: 2 ** 26, memorySwappiness: 10, oomKillDisable: true });
  expect(test.warnings.length).toBe(2);
});

test("a busy loop is held to a fifth of a CPU by hand", () => {
  const script = join(resolve(import.meta.dir, "../.."), "examples/cpu-limit.sh");
  const { stdout, exitCode } = Bun.spawnSync(["sh", script]);
  expect(stdout.toString()).toMatch(/^cgroup v2\ncpu\.max: max 100000\n/);
  expect(Number(/with the limit: (\d+) %/.exec(stdout.toString())?.[1])).toBeLessThanOrEqual(30);
  expect(stdout.toString()).toMatch(/nr_throttled [1-9]/);
  expect(exitCode).toBe(0);
});
