import { expect, test } from "bun:test";
import { readdirSync, readlinkSync, readFileSync } from "node:fs";
import {
  bootId,
  identify,
  isAlive,
  namespaceInodes,
  readMounts,
  signalProcess,
  startTime,
} from "../../src/kernel/index.ts";
import { until } from "../support/groups.ts";

test("a process is told from a later one with its number by its start time and boot", async () => {
  const child = Bun.spawn(["sleep", "60"]);
  const identity = identify(child.pid);
  expect(identity?.bootId).toBe(readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim());
  if (!identity) throw new Error("The process is not there");
  expect(isAlive(identity)).toBe(true);
  expect(isAlive({ ...identity, startTime: identity.startTime - 1 })).toBe(false);
  expect(isAlive({ ...identity, bootId: crypto.randomUUID() })).toBe(false);
  expect(signalProcess({ ...identity, startTime: identity.startTime - 1 }, 9)).toBe(false);
  expect(isAlive(identity)).toBe(true);
  expect(signalProcess(identity, 9)).toBe(true);
  await child.exited;
  expect(isAlive(identity)).toBe(false);
  expect(signalProcess(identity, 9)).toBe(false);
});

test("a zombie is dead, though its number is taken", async () => {
  // The shell's child ends while the shell, which became another program, never waits for it.
  const parent = Bun.spawn(["sh", "-c", "sleep 0 & echo $!; exec sleep 60"], { stdout: "pipe" });
  const reader = parent.stdout.getReader();
  const zombie = Number(new TextDecoder().decode((await reader.read()).value));
  await until("it is a zombie", () => readFileSync(`/proc/${zombie}/stat`, "utf8").includes(") Z "));
  expect(startTime(zombie)).toBeGreaterThan(0);
  expect(identify(zombie)).toBeUndefined();
  parent.kill("SIGKILL");
  await parent.exited;
});

test("the start time is that of ps, whatever the program calls itself", async () => {
  const child = Bun.spawn(["sh", "-c", "printf 'a) Z (b' > /proc/$$/comm; echo; read x"], {
    stdin: "pipe",
    stdout: "pipe",
  });
  await child.stdout.getReader().read();
  expect(readFileSync(`/proc/${child.pid}/comm`, "utf8")).toBe("a) Z (b\n");
  const before = startTime(process.pid) ?? Infinity;
  expect(startTime(child.pid)).toBeGreaterThanOrEqual(before);
  expect(identify(child.pid)?.startTime).toBe(startTime(child.pid) ?? -1);
  child.kill("SIGKILL");
  await child.exited;
});

test("namespaces have the inodes that /proc/PID/ns shows", () => {
  const inodes = namespaceInodes("self");
  for (const [name, inode] of Object.entries(inodes)) {
    expect(readlinkSync(`/proc/self/ns/${name}`)).toBe(`${name}:[${inode}]`);
  }
  expect(() => namespaceInodes(2 ** 22)).toThrow("no such process");
});

test("this boot has an id, and each mount of this process is read", () => {
  expect(bootId()).toMatch(/^[0-9a-f-]{36}$/);
  const mounts = readMounts();
  expect(mounts.length).toBe(readFileSync("/proc/self/mountinfo", "utf8").trim().split("\n").length);
  expect(mounts.find((mount) => mount.target === "/proc")?.type).toBe("proc");
  expect(readdirSync("/proc/self").length).toBeGreaterThan(0);
});
