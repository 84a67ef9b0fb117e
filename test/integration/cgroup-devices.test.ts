import { expect, test } from "bun:test";
import type { DeviceRule } from "../../src/kernel/index.ts";
import { newGroups, type TestGroups } from "../support/groups.ts";
import { newScratch } from "../support/scratch.ts";

const denyAll: DeviceRule = { allow: false, access: "rwm" };
const null_: DeviceRule = { allow: true, type: "c", major: 1, minor: 3, access: "rwm" };

/** What opening devices says inside of the group: one line for each, `ok` or the error. */
async function tryInGroup(test: TestGroups, path: string, script: string): Promise<string[]> {
  // The shell joins with its own descriptors open: only what it opens afterwards is asked about.
  const child = test.spawn(path, ["sh", "-c", script]);
  const output = await new Response(child.stdout).text();
  return output.trim().split("\n");
}

const reading = (device: string): string =>
  `if head -c 1 ${device} 2>&1 >/dev/null | grep -q 'not permitted'; then echo denied; else echo ok; fi`;

test("a device that no rule allows cannot be opened, and one that a rule allows can", async () => {
  await using test = newGroups();
  const path = test.newPath();
  test.groups.create(path, { devices: [denyAll, null_, { allow: true, type: "c", major: 1, minor: 5, access: "r" }] });
  expect(await tryInGroup(test, path, `${reading("/dev/zero")}; ${reading("/dev/urandom")}`)).toEqual(["ok", "denied"]);
});

test("access is by kind: what may be read may not be written", async () => {
  await using test = newGroups();
  const path = test.newPath();
  test.groups.create(path, { devices: [denyAll, null_, { allow: true, type: "c", major: 1, minor: 5, access: "r" }] });
  const script =
    "(echo x > /dev/zero) 2>/dev/null && echo written || echo refused; (echo x > /dev/null) && echo written";
  expect(await tryInGroup(test, path, script)).toEqual(["refused", "written"]);
});

test("making a node takes the right to, for every number a wildcard names", async () => {
  await using test = newGroups();
  await using scratch = newScratch();
  const path = test.newPath();
  test.groups.create(path, { devices: [denyAll, null_, { allow: true, type: "c", access: "m" }] });
  const script = [
    `mknod ${scratch.path}/c c 1 8 && echo made`,
    `(mknod ${scratch.path}/b b 7 99) 2>/dev/null && echo made || echo refused`,
    reading(`${scratch.path}/c`),
  ];
  expect(await tryInGroup(test, path, script.join("; "))).toEqual(["made", "refused", "denied"]);
});

test("an update gives and takes devices of a running group, and keeps those that stay", async () => {
  await using test = newGroups();
  const path = test.newPath();
  const zero: DeviceRule = { allow: true, type: "c", major: 1, minor: 5, access: "rwm" };
  const random: DeviceRule = { allow: true, type: "c", major: 1, minor: 9, access: "rwm" };
  const script = `${reading("/dev/zero")}; ${reading("/dev/urandom")}`;
  test.groups.create(path, { devices: [denyAll, null_, zero] });
  expect(await tryInGroup(test, path, script)).toEqual(["ok", "denied"]);
  test.groups.apply(path, { devices: [denyAll, null_, random] });
  expect(await tryInGroup(test, path, script)).toEqual(["denied", "ok"]);
  test.groups.apply(path, { devices: [{ allow: true, access: "rwm" }] });
  expect(await tryInGroup(test, path, script)).toEqual(["ok", "ok"]);
  test.groups.apply(path, {
    devices: [
      { allow: true, access: "rwm" },
      { ...random, allow: false },
    ],
  });
  expect(await tryInGroup(test, path, script)).toEqual(["ok", "denied"]);
});

test("a group without rules may open everything", async () => {
  await using test = newGroups();
  const path = test.newPath();
  test.groups.create(path, {});
  expect(await tryInGroup(test, path, reading("/dev/urandom"))).toEqual(["ok"]);
});
