import { expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { newGroups, until } from "../support/groups.ts";

/** Clock ticks that a process has used. */
function ticksOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return Number(fields[11]) + Number(fields[12]);
}

test("a process that writes 0 into the directories is in the group, as /proc/PID/cgroup says for every hierarchy", async () => {
  await using test = newGroups();
  const path = test.newPath();
  test.groups.create(path, {});
  const child = test.spawn(path, ["sleep", "60"]);
  await until("the process is in the group", () => readFileSync(`/proc/${child.pid}/comm`, "utf8") === "sleep\n");
  expect(test.groups.processes(path)).toEqual([child.pid]);
  const lines = readFileSync(`/proc/${child.pid}/cgroup`, "utf8").trim().split("\n");
  const names = Object.keys(test.groups.directories(path)).map((name) => (name === "unified" ? "" : name));
  for (const line of lines) {
    const [, controllers = "", own] = line.split(":");
    const name = controllers.replace("name=", "");
    if (names.includes(name)) expect([name, own]).toEqual([name, path]);
  }
});

test("freezing stops every process and thawing lets it go on", async () => {
  await using test = newGroups();
  const path = test.newPath();
  test.groups.create(path, {});
  const child = test.spawn(path, ["sh", "-c", "while :; do :; done"]);
  await until("it runs", () => ticksOf(child.pid) > 1);
  await test.groups.freeze(path);
  expect(test.file(path, "freezer.state", "cgroup.events")).toMatch(/FROZEN|frozen 1/);
  // The kernel counts it as frozen a moment before it leaves the CPU: from then on it uses no time, however long this process spins.
  await until("it uses no time", () => {
    const frozen = ticksOf(child.pid);
    for (const end = performance.now() + 60; performance.now() < end;) continue;
    return ticksOf(child.pid) === frozen;
  });
  const frozen = ticksOf(child.pid);
  await test.groups.thaw(path);
  await until("it runs again", () => ticksOf(child.pid) > frozen);
});

test("killing a frozen group ends its processes and thaws it", async () => {
  await using test = newGroups();
  const path = test.newPath();
  test.groups.create(path, {});
  const child = test.spawn(path, ["sh", "-c", "sleep 60 & sleep 60 & wait"]);
  await until("three processes are there", () => test.groups.processes(path).length === 3);
  await test.groups.freeze(path);
  await test.groups.killAll(path);
  await child.exited;
  expect(child.signalCode).toBe("SIGKILL");
  expect(test.groups.processes(path)).toEqual([]);
  await test.groups.remove(path);
});

test("a group whose processes make groups of their own is counted, killed and removed with them", async () => {
  await using test = newGroups();
  const path = test.newPath();
  test.groups.create(path, {});
  test.groups.create(`${path}/inner`, {});
  const child = test.spawn(`${path}/inner`, ["sleep", "60"]);
  await until("the process is there", () => test.groups.processes(`${path}/inner`).length === 1);
  expect(test.groups.processes(path)).toEqual([child.pid]);
  await test.groups.killAll(path);
  await test.groups.remove(path);
  expect(Object.values(test.groups.directories(path)).filter((directory) => existsSync(directory))).toEqual([]);
});

test("removing waits for a process that is still going away", async () => {
  await using test = newGroups();
  const path = test.newPath();
  test.groups.create(path, {});
  const child = test.spawn(path, ["sleep", "60"]);
  await until("the process is there", () => test.groups.processes(path).length === 1);
  const removed = test.groups.remove(path);
  child.kill("SIGKILL");
  await removed;
  expect(test.groups.list(test.root)).toEqual([]);
});

test("a group with processes is not taken for a new one; an empty leftover is made anew", async () => {
  await using test = newGroups();
  const path = test.newPath();
  test.groups.create(path, { pids: 9 });
  const child = test.spawn(path, ["sleep", "60"]);
  await until("the process is there", () => test.groups.processes(path).length === 1);
  expect(() => test.groups.create(path, {})).toThrow("is in use");
  expect(test.groups.processes(path)).toEqual([child.pid]);
  await test.groups.killAll(path);
  await until("the group is empty for the kernel too", () => {
    try {
      test.groups.create(path, {});
      return true;
    } catch {
      return false;
    }
  });
  expect(test.file(path, "pids.max")).toBe("max");
});

test("removing what is not there is no error", async () => {
  await using test = newGroups();
  await test.groups.remove(test.newPath());
  expect(test.groups.processes(test.newPath())).toEqual([]);
});

test("killing a group thaws the groups below it that are frozen", async () => {
  await using test = newGroups();
  const path = test.newPath();
  test.groups.create(path, {});
  const child = test.spawn(path, ["sleep", "60"]);
  await until("the process is there", () => test.groups.processes(path).length === 1);
  await test.groups.freeze(path);
  await test.groups.killAll(test.root);
  await child.exited;
  expect(child.signalCode).toBe("SIGKILL");
});
