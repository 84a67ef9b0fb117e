import { describe, expect, test } from "bun:test";
import { mountTarget, parseModeChange } from "../../../src/build/index.ts";

// --chmod, the mode of a file before, and after it; then whether it is a directory.
const modes: [text: string, before: number, after: number, isDirectory?: boolean][] = [
  ["755", 0o600, 0o755],
  ["0644", 0o4755, 0o644],
  ["7777", 0, 0o7777],
  ["0", 0o755, 0],
  ["+x", 0o644, 0o755],
  ["a-w", 0o666, 0o444],
  ["u=rw,go=r", 0o777, 0o644],
  ["u=rwX,go=rX", 0o640, 0o644],
  ["u=rwX,go=rX", 0o100, 0o755],
  ["u=rwX,go=rX", 0o640, 0o755, true],
  ["g=u", 0o740, 0o770],
  ["o=g", 0o750, 0o755],
  ["go-rwx", 0o777, 0o700],
  ["u+s", 0o755, 0o4755],
  ["g+s,+t", 0o755, 0o3755],
  ["a=", 0o7777, 0],
  ["u+r-w", 0o200, 0o400],
  ["ug+w", 0o444, 0o664],
];

describe("--chmod", () => {
  for (const [text, before, after, isDirectory = false] of modes) {
    const what = isDirectory ? "a directory" : "a file";
    test(`${text} makes ${after.toString(8)} of ${what} of ${before.toString(8)}`, () => {
      expect(parseModeChange(text).apply(before, { isDirectory }).toString(8)).toBe(after.toString(8));
    });
  }

  for (const text of ["8", "999", "17777", "0o755", "rwx", "u~r", "u=q", "x+u", "u=rwX;go=rX", ""]) {
    test(`${JSON.stringify(text)} is refused`, () => {
      expect(() => parseModeChange(text)).toThrow(`invalid chmod parameter: '${text}'`);
    });
  }
});

test("a mount's target is below the working directory, and never the root", () => {
  expect(mountTarget("a", "/work")).toBe("/work/a");
  expect(mountTarget("", "/work")).toBe("/work");
  expect(mountTarget("/a/../b/", "/work")).toBe("/b");
  expect(() => mountTarget("..", "/work")).toThrow('invalid mount target "/"');
});
