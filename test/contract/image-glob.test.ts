import { describe, expect, test } from "bun:test";
import { matchGlob } from "../../src/image/index.ts";

describe("a glob", () => {
  test.each([
    ["abc", "abc", true],
    ["*", "abc", true],
    ["*c", "abc", true],
    ["a*", "ab/c", false],
    ["a*/b", "a/b", true],
    ["a*b?c*x", "abxbbxdbxebxczzx", true],
    ["ab[c]", "abc", true],
    ["ab[b-d]", "abc", true],
    ["ab[e-g]", "abc", false],
    ["ab[^e-g]", "abc", true],
    ["a\\*b", "a*b", true],
    ["a\\*b", "ab", false],
    ["a?b", "a/b", false],
    ["a.c", "abc", false],
    ["user/*:v?", "user/app:v1", true],
    ["", "", true],
    ["app-*.jar", "app-1.0.jar", true],
    ["[a-c]-x", "b-x", true],
    ["a**b", "ab", true],
  ])("%p against %p is %p, as in Go", (pattern, text, matches) => {
    expect(matchGlob(pattern, text)).toBe(matches);
  });

  test.each(["[", "[a", "a\\", "[-a]"])("%p has a syntax error", (pattern) => {
    expect(() => matchGlob(pattern, "a")).toThrow("syntax error");
  });
});
