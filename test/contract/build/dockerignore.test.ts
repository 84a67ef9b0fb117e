import { expect, test } from "bun:test";
import { createIgnoreRules, parseIgnoreFile } from "../../../src/spec/index.ts";

// rules (one a line of the file), path, ignored
const table: [rules: string, path: string, ignored: boolean][] = [
  ["node_modules", "node_modules", true],
  ["node_modules", "node_modules/a/b.js", true],
  ["node_modules", "src/node_modules", false],
  ["**/node_modules", "src/deep/node_modules/x", true],
  ["**/node_modules", "node_modules", true],
  ["**/node_modules", "my_node_modules", false],
  ["build/", "build/x", true],
  ["/build", "build", true],
  ["/build", "a/build", false],
  ["./build", "build", true],
  ["a/../build", "build", true],
  ["  build  ", "build", true],
  ["# build", "build", false],
  ["*.md", "README.md", true],
  ["*.md", "docs/README.md", false],
  ["*/*.md", "docs/README.md", true],
  ["**/*.md", "README.md", true],
  ["**/*.md", "a/b/c.md", true],
  ["**.md", "a/b/c.md", true],
  ["**", "anything/at/all", true],
  ["dir/**", "dir/a/b", true],
  ["dir/**", "dir", false],
  ["a/**/b", "a/b", true],
  ["a/**/b", "a/x/y/b", true],
  ["a/**/b", "ab", false],
  ["a**/*.txt", "ab/c/d.txt", true],
  ["file?", "file1", true],
  ["file?", "file", false],
  ["file?", "file/", false],
  ["[a-c]x", "bx", true],
  ["[^a-c]x", "bx", false],
  ["[^a-c]x", "dx", true],
  ["\\*star", "*star", true],
  ["\\*star", "astar", false],
  ["README", "readme", false],
  ["Readme", "Readme", true],
  ["a(b)c", "a(b)c", true],
  ["a(b)c", "abc", false],
  ["a+b", "a+b", true],
  ["a+b", "aab", false],
  ["a.b", "axb", false],
  ["$x{1}|y", "$x{1}|y", true],
  ["^x", "^x", true],
  ["*.md\n!README.md", "README.md", false],
  ["*.md\n!README.md", "OTHER.md", true],
  ["!README.md\n*.md", "README.md", true],
  ["docs\n!docs/keep.md", "docs/keep.md", false],
  ["docs\n!docs/keep.md", "docs/other.md", true],
  ["*\n!src\nsrc/tmp", "src/a.ts", false],
  ["*\n!src\nsrc/tmp", "src/tmp/x", true],
  ["*\n! src", "src/a", false],
  ["über*", "übermut", true],
  ["\u{FEFF}first", "first", true],
  ["a b", "a b", true],
  [".git", ".gitignore", false],
  [".*", ".gitignore", true],
];

for (const [rules, path, ignored] of table) {
  test(`${JSON.stringify(rules)} ${ignored ? "ignores" : "keeps"} ${path}`, () => {
    expect(parseIgnoreFile(rules).ignores(path)).toBe(ignored);
  });
}

test("tells whether a directory that is ignored must still be looked into", () => {
  expect(createIgnoreRules(["docs"]).hasExceptions).toBe(false);
  expect(createIgnoreRules(["docs", "!docs/a"]).hasExceptions).toBe(true);
});

test("refuses an exception of nothing, and a bracket that does not end", () => {
  expect(() => parseIgnoreFile("a\n!\n")).toThrow('illegal exclusion pattern: "!"');
  expect(() => parseIgnoreFile("a[b\n")).toThrow("syntax error in pattern");
});
