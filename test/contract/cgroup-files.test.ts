import { expect, test } from "bun:test";
import { cpuWeight, findCgroupMounts, ioWeight, openCgroups, parseMountInfo } from "../../src/kernel/index.ts";

test("the default of each version is the default of the other", () => {
  expect(cpuWeight(1024)).toBe(100);
});

test.each([
  [2, 1],
  [262144, 10000],
  [512, 59],
  [2048, 174],
])("shares of %d are a weight of %d", (shares, weight) => {
  expect(cpuWeight(shares)).toBe(weight);
});

test("weights of block I/O span the whole scale", () => {
  expect([10, 500, 1000].map(ioWeight)).toEqual([1, 4950, 10000]);
});

test("a mount with spaces, tags and options is read", () => {
  const line = "36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 shared:7 - ext3 /dev/ro\\134ot rw,errors=continue";
  expect(parseMountInfo(line)).toEqual({
    id: 36,
    parentId: 35,
    major: 98,
    minor: 0,
    root: "/mnt1",
    target: "/mnt 2",
    options: ["rw", "noatime"],
    propagation: ["master:1", "shared:7"],
    type: "ext3",
    source: "/dev/ro\\ot",
    superOptions: ["rw", "errors=continue"],
  });
});

test("controllers that are mounted together share a directory, and a second mount of them counts for nothing", () => {
  const mounts = [
    "31 23 0:28 / /cg/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct",
    "32 23 0:28 / /other rw - cgroup cgroup rw,cpu,cpuacct",
    "33 23 0:29 / /cg/memory ro - cgroup cgroup rw,memory",
    "34 23 0:30 / /cg/net rw - cgroup cgroup rw,net_cls",
  ].map(parseMountInfo);
  const found = findCgroupMounts(mounts);
  expect(Object.fromEntries(found.v1)).toEqual({
    cpu: "/cg/cpu,cpuacct",
    cpuacct: "/cg/cpu,cpuacct",
    net_cls: "/cg/net",
  });
  const groups = openCgroups({ mounts: found });
  expect(groups.support.version).toBe("v1");
  expect(groups.directories("/x")).toEqual({ cpu: "/cg/cpu,cpuacct/x", cpuacct: "/cg/cpu,cpuacct/x" });
  expect(groups.oomControlFile("/x")).toBeUndefined();
  expect(() => groups.create("/x", { memory: 2 ** 30 })).toThrow("memory controller is not mounted");
});

test("a machine without control groups is refused by name", () => {
  expect(() => openCgroups({ mounts: findCgroupMounts([]) })).toThrow("No control groups are mounted");
});
