import { expect, test } from "bun:test";
import { devicePolicy, type DeviceRule, formatException, parseDeviceList } from "../../src/kernel/device-rules.ts";

const denyAll: DeviceRule = { allow: false, access: "rwm" };
const lines = (rules: readonly DeviceRule[]): string[] => devicePolicy(rules).exceptions.map(formatException);

test("rules for one device add up", () => {
  const device = { allow: true, type: "c", major: 1, minor: 3 } as const;
  expect(lines([denyAll, { ...device, access: "r" }, { ...device, access: "wm" }])).toEqual(["c 1:3 rwm"]);
});

test("the last rule wins, by kind of access", () => {
  const device = { type: "c", major: 1, minor: 3 } as const;
  expect(lines([denyAll, { ...device, allow: true }, { ...device, allow: false, access: "w" }])).toEqual(["c 1:3 rm"]);
});

test("denying a wildcard takes what it covers", () => {
  const rules: DeviceRule[] = [
    denyAll,
    { allow: true, type: "c", major: 1, minor: 3 },
    { allow: true, type: "b", major: 1, minor: 3 },
    { allow: false, type: "c", major: 1, access: "rwm" },
  ];
  expect(lines(rules)).toEqual(["b 1:3 rwm"]);
});

test("a rule for all types starts anew", () => {
  expect(devicePolicy([denyAll, { allow: true, type: "c", major: 1, minor: 3 }, { allow: true, type: "a" }])).toEqual({
    defaultAllow: true,
    exceptions: [],
  });
});

test("what is denied where all is allowed is an exception", () => {
  const rules: DeviceRule[] = [{ allow: true }, { allow: false, type: "b", major: 8, minor: -1, access: "w" }];
  expect(devicePolicy(rules).defaultAllow).toBe(true);
  expect(lines(rules)).toEqual(["b 8:* w"]);
});

test("a hole in a wider rule is refused, since v1 cannot have one", () => {
  const rules: DeviceRule[] = [
    denyAll,
    { allow: true, type: "c", access: "m" },
    { allow: false, type: "c", major: 1, minor: 3 },
  ];
  expect(() => devicePolicy(rules)).toThrow('Cannot deny device "c 1:3 rwm": it is part of the wider rule "c *:* m"');
});

test.each([
  [{ allow: true, type: "p", major: 1, minor: 1 }, 'Invalid device rule type "p"'],
  [{ allow: true, type: "c", major: -2, minor: 1 }, "Invalid device number -2"],
  [{ allow: true, type: "c", major: 1, minor: 1, access: "rx" }, 'Invalid device access "rx"'],
] as [DeviceRule, string][])("%j is refused", (rule, message) => {
  expect(() => devicePolicy([rule])).toThrow(message);
});

test("the kernel's list reads back as it was written", () => {
  const list = "c 1:3 rwm\nb *:* m\nc 136:* rw";
  expect(parseDeviceList(list).exceptions.map(formatException).join("\n")).toBe(list);
  expect(parseDeviceList("a *:* rwm")).toEqual({ defaultAllow: true, exceptions: [] });
});
