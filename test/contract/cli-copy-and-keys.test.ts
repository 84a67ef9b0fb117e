import { expect, test } from "bun:test";
import { copyName, parseCopySide, planCopy } from "../../src/cli/copy-paths.ts";
import { toDetachKeys } from "../../src/cli/detach-keys-flag.ts";
import { DetachWatcher } from "../../src/common/index.ts";

const folder = { path: "/src", isDirectory: true };
const file = { path: "/src/a", isDirectory: false };
const missing = (path: string) => ({ path, exists: false, isDirectory: false });
const directory = (path: string) => ({ path, exists: true, isDirectory: true });
const plain = (path: string) => ({ path, exists: true, isDirectory: false });

test("a copy goes into a directory that is there, and takes the name of a target that is not", () => {
  expect(planCopy(folder, directory("/t"))).toEqual({ into: "/t", name: "src" });
  expect(planCopy(folder, missing("/t/new"))).toEqual({ into: "/t", name: "new" });
  expect(planCopy(folder, missing("/t/new/"))).toEqual({ into: "/t", name: "new" });
  expect(planCopy(file, directory("/t"))).toEqual({ into: "/t", name: "a" });
  expect(planCopy(file, plain("/t/b"))).toEqual({ into: "/t", name: "b" });
  expect(planCopy(file, missing("b"))).toEqual({ into: ".", name: "b" });
});

test("a path that ends with /. stands for what the directory holds", () => {
  expect(copyName("/src/.")).toBe(".");
  expect(planCopy({ path: "/src/.", isDirectory: true }, directory("/t"))).toEqual({ into: "/t", name: "." });
  expect(planCopy({ path: "/src/.", isDirectory: true }, missing("/t/new"))).toEqual({ into: "/t", name: "new" });
});

test("copies that cannot mean anything are refused", () => {
  expect(() => planCopy(folder, plain("/t/f"))).toThrow("cannot copy directory");
  expect(() => planCopy(file, missing("/t/none/"))).toThrow("no such directory");
  expect(() => planCopy(file, plain("/t/f/"))).toThrow("not a directory");
});

test("a colon makes a container's path, but not after a slash or a dot", () => {
  expect(parseCopySide("web:/etc")).toEqual({ container: "web", path: "/etc" });
  expect(parseCopySide("./a:b").container).toBeUndefined();
  expect(parseCopySide("/a:b").container).toBeUndefined();
  expect(parseCopySide("-").container).toBeUndefined();
});

test("the detach keys are seen across reads, and what only began like them is passed on", () => {
  const watcher = new DetachWatcher(toDetachKeys(""));
  expect(watcher.take(Uint8Array.of(97, 16))).toEqual({ pass: Uint8Array.of(97), detached: false });
  expect(watcher.take(Uint8Array.of(98))).toEqual({ pass: Uint8Array.of(16, 98), detached: false });
  watcher.take(Uint8Array.of(16));
  expect(watcher.take(Uint8Array.of(17, 99))).toEqual({ pass: new Uint8Array(), detached: true });
});

test("other detach keys are single characters or ctrl with a letter", () => {
  expect(toDetachKeys("a,ctrl-x,ctrl-@")).toEqual([97, 24, 0]);
  expect(() => toDetachKeys("ctrl-é")).toThrow("invalid detach keys (ctrl-é)");
});
