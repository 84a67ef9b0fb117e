// CPU limits of a container, from the request to the group's files and to what its processes get; the same on cgroup v1 and v2.
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readFileSync, rmdirSync } from "node:fs";
import { availableParallelism } from "node:os";
import { busyboxEngine } from "../support/busybox-engine.ts";
import { control, controlFile, groupPaths, groupsNamed, keyed, limitsAreV2 } from "../support/control-files.ts";
import { ask, refusal, removeContainer, startContainer } from "../support/engine-containers.ts";
import { waitFor } from "../support/test-engine.ts";

setDefaultTimeout(60_000);

const engine = busyboxEngine();
const busyLoop = "while :; do :; done";

async function pidOf(id: string): Promise<number> {
  return (await engine.inspect(id)).State.Pid;
}

/** Quota and period in microseconds as the kernel has them; a quota of undefined is none. */
function quotaOf(pid: number): { quota: number | undefined; period: number } {
  const [quota, period] = limitsAreV2
    ? control(pid, "cpu.max").split(" ")
    : [control(pid, "cpu.cfs_quota_us"), control(pid, "cpu.cfs_period_us")];
  return { quota: quota === "max" || quota === "-1" ? undefined : Number(quota), period: Number(period) };
}

interface Spent {
  readonly periods: number;
  readonly throttled: number;
  readonly microseconds: number;
}

function spentBy(pid: number): Spent {
  const stat = control(pid, "cpu.stat");
  const microseconds = limitsAreV2 ? keyed(stat, "usage_usec") : Number(control(pid, "cpuacct.usage")) / 1000;
  return { periods: keyed(stat, "nr_periods"), throttled: keyed(stat, "nr_throttled"), microseconds };
}

/** What a group took of its own periods, which go on while the machine is busy with others: not of the wall clock. */
async function measure(pid: number, periods: number): Promise<Spent> {
  const from = spentBy(pid);
  await waitFor(`${periods} periods of the group`, () => spentBy(pid).periods >= from.periods + periods, 30_000);
  const to = spentBy(pid);
  return {
    periods: to.periods - from.periods,
    throttled: to.throttled - from.throttled,
    microseconds: to.microseconds - from.microseconds,
  };
}

/** Within the quota, and as much as that wherever the group was throttled; a slice (5 ms a CPU) may be spent early or late. */
function expectQuota({ periods, throttled, microseconds }: Spent, quota: number): void {
  const slices = 5000 * availableParallelism();
  expect(throttled).toBeGreaterThan(0);
  expect(microseconds).toBeLessThanOrEqual((periods + 1) * (quota + 1000) + slices);
  expect(microseconds).toBeGreaterThanOrEqual((throttled - 1) * (quota - 1000) - slices);
}

describe("--cpu-period and --cpu-quota", () => {
  test("are in the group's files, whose tasks are the container's processes", async () => {
    const id = await startContainer(engine, ["sleep", "60"], { host: { CpuPeriod: 100_000, CpuQuota: 20_000 } });
    const pid = await pidOf(id);
    expect(quotaOf(pid)).toEqual({ quota: 20_000, period: 100_000 });
    expect(control(pid, "cgroup.procs")).toBe(String(pid));
    expect(control(pid, "tasks", "cgroup.threads")).toBe(String(pid));
    expect(controlFile(pid, "cpu.max", "cpu.cfs_quota_us")).toContain(`/${engine.instance}/${id}/`);
    await removeContainer(engine, id);
    expect(groupsNamed(`${engine.instance}/${id}`)).toEqual([]);
  });

  test("hold a busy loop to a fifth of a CPU, and an update gives it a half while it runs", async () => {
    const id = await startContainer(engine, busyLoop, { host: { CpuPeriod: 100_000, CpuQuota: 20_000 } });
    const pid = await pidOf(id);
    expectQuota(await measure(pid, 10), 20_000);
    await ask(engine, "POST", `/containers/${id}/update`, { CpuQuota: 50_000 });
    expect(quotaOf(pid)).toEqual({ quota: 50_000, period: 100_000 });
    expect((await engine.inspect(id)).HostConfig.CpuQuota).toBe(50_000);
    expectQuota(await measure(pid, 10), 50_000);
    await removeContainer(engine, id);
  });

  test("an update of a stopped container counts from its next start", async () => {
    const id = await startContainer(engine, ["sleep", "60"]);
    expect(quotaOf(await pidOf(id)).quota).toBeUndefined();
    await ask(engine, "POST", `/containers/${id}/kill`);
    await waitFor("the end", async () => !(await engine.inspect(id)).State.Running);
    await ask(engine, "POST", `/containers/${id}/update`, { CpuQuota: 30_000 });
    await ask(engine, "POST", `/containers/${id}/start`);
    expect(quotaOf(await pidOf(id))).toEqual({ quota: 30_000, period: 100_000 });
    await removeContainer(engine, id);
  });

  test("an update that the kernel cannot mean is refused, and nothing changes", async () => {
    const id = await startContainer(engine, ["sleep", "60"], { host: { CpuQuota: 20_000 } });
    const path = `/containers/${id}/update`;
    expect(await refusal(engine, "POST", path, { CpuQuota: 500 })).toContain("cfs quota");
    expect(await refusal(engine, "POST", path, { CpuPeriod: 2_000_000 })).toContain("cfs period");
    expect(await refusal(engine, "POST", path, { NanoCpus: 5e8 })).toContain("Nano CPUs");
    expect(await refusal(engine, "POST", path, { CpusetCpus: "4096" })).toContain("4096");
    expect(quotaOf(await pidOf(id))).toEqual({ quota: 20_000, period: 100_000 });
    expect((await engine.inspect(id)).HostConfig).toMatchObject({ CpuQuota: 20_000 });
    await removeContainer(engine, id);
  });

  test("--cpus is a quota of that many periods, and --cpu-shares a share", async () => {
    const id = await startContainer(engine, ["sleep", "60"], { host: { NanoCpus: 1.5e9 / 2, CpuShares: 512 } });
    const pid = await pidOf(id);
    expect(quotaOf(pid)).toEqual({ quota: 75_000, period: 100_000 });
    // The default of 1024 is a weight of 100 on v2.
    const share = Number(control(pid, "cpu.shares", "cpu.weight"));
    expect(share).toBe(limitsAreV2 ? 59 : 512);
    await removeContainer(engine, id);
  });
});

describe("--cpuset-cpus", () => {
  test("keeps every process on those CPUs", async () => {
    const cpu = String(availableParallelism() - 1);
    const id = await startContainer(engine, "sleep 60 & wait", { host: { CpusetCpus: cpu, CpusetMems: "0" } });
    const pid = await pidOf(id);
    expect(control(pid, "cpuset.cpus")).toBe(cpu);
    expect(control(pid, "cpuset.mems")).toBe("0");
    await waitFor("the child", () => control(pid, "cgroup.procs").split("\n").length === 2);
    for (const one of control(pid, "cgroup.procs").split("\n")) {
      expect(readFileSync(`/proc/${one}/status`, "utf8")).toContain(`Cpus_allowed_list:\t${cpu}\n`);
    }
    await removeContainer(engine, id);
  });
});

describe("--cgroup-parent", () => {
  test("puts the group below another, whose limits hold for it too", async () => {
    const parent = `${engine.instance}-parent`;
    const id = await startContainer(engine, busyLoop, { host: { CgroupParent: `/${parent}/deep` } });
    const pid = await pidOf(id);
    try {
      expect([...new Set(groupPaths(pid).values())]).toEqual([`/${parent}/deep/${id}`]);
      const own = controlFile(pid, "cpu.max", "cpu.cfs_quota_us");
      const above = own.replace(`/deep/${id}/`, "/");
      expect(existsSync(above)).toBe(true);
      await Bun.write(above, limitsAreV2 ? "20000 100000" : "20000");
      const statOf = (path: string) => readFileSync(path.replace(/[^/]+$/, "cpu.stat"), "utf8");
      await waitFor("the parent to be throttled", () => keyed(statOf(above), "nr_throttled") >= 3, 30_000);
      expect(keyed(statOf(own), "nr_periods") || 0).toBe(0);
      await removeContainer(engine, id);
      expect(groupsNamed(`${parent}/deep/${id}`)).toEqual([]);
    } finally {
      await removeContainer(engine, id).catch(() => {});
      for (const directory of [...groupsNamed(`${parent}/deep`), ...groupsNamed(parent)]) rmdirSync(directory);
    }
  });

  test("one that leads out of the hierarchy is refused", async () => {
    const request = { Image: "busybox", Cmd: ["true"], HostConfig: { CgroupParent: "/../up" } };
    expect(await refusal(engine, "POST", "/containers/create", request)).toContain("/../up");
  });
});
