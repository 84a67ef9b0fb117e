// Run by `npm run test:vm` once a tmpfs is the root: what differs from the machine on which the other tests run.
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { openCgroups, readMounts } from "../../src/kernel/index.ts";
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
