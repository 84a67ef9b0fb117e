import { expect, test } from "bun:test";
import type { Flag } from "../../src/cli/command.ts";
import { normaliseArguments } from "../../src/cli/normalise-arguments.ts";

const flags: readonly Flag[] = [
  { name: "interactive", short: "i", kind: "bool", description: "" },
  { name: "tty", short: "t", kind: "bool", description: "" },
  { name: "rm", kind: "bool", description: "" },
  { name: "publish", short: "p", kind: "list", description: "" },
  { name: "network", alias: "net", kind: "string", description: "" },
  { name: "no-trunc", kind: "bool", description: "" },
];

const run = (line: string): string => normaliseArguments(line.split(" "), flags, { interspersed: false }).join(" ");
const mixed = (line: string): string => normaliseArguments(line.split(" "), flags, { interspersed: true }).join(" ");

test("short flags of one word are taken apart, the last may carry a value", () => {
  expect(run("-it image")).toBe("--interactive=true --tty=true -- image");
  expect(run("-itp 80:80 image")).toBe("--interactive=true --tty=true --publish=80:80 -- image");
  expect(run("-p80:80 image")).toBe("--publish=80:80 -- image");
  expect(run("-p=80:80 image")).toBe("--publish=80:80 -- image");
  expect(run("-i=false image")).toBe("--interactive=false -- image");
});

test("a switch takes its value only behind an equals sign", () => {
  expect(run("--rm=false image")).toBe("--rm=false -- image");
  expect(run("--rm false")).toBe("--rm=true -- false");
});

test("a value may begin with a dash, and an alias is the flag itself", () => {
  expect(run("--net -1 image")).toBe("--network=-1 -- image");
});

test("what follows the first argument is left alone where flags may not be mixed with arguments", () => {
  expect(run("image -it --rm")).toBe("-- image -it --rm");
  expect(mixed("a -i b --rm")).toBe("--interactive=true --rm=true -- a b");
  expect(mixed("a -- -i")).toBe("-- a -i");
  expect(mixed("- -i")).toBe("--interactive=true -- -");
});

test("mistakes are told in pflag's words", () => {
  expect(() => run("--foo")).toThrow("unknown flag: --foo");
  expect(() => run("-ix")).toThrow("unknown shorthand flag: 'x' in -x");
  expect(() => run("--publish")).toThrow("flag needs an argument: --publish");
  expect(() => run("-p")).toThrow("flag needs an argument: 'p' in -p");
});
