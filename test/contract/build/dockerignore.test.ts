import { expect, test } from "bun:test";
import { compilePathPattern, createIgnoreRules, ignorePatterns, parseIgnoreFile } from "../../../src/spec/index.ts";

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
  // A dash is a letter as others are.
  ["my-app.jar", "my-app.jar", true],
  ["app-*.jar", "app-1.0.jar", true],
  ["a/b-c/*", "a/b-c/d", true],
  ["[a-c]-x", "b-x", true],
  // Two stars, wherever they stand.
  ["**", "file", true],
  ["**/", "file", true],
  ["**/**", "dir/file", true],
  ["dir/**", "dir/dir2/file", true],
  ["**/dir2/*", "dir/dir2/file", true],
  ["**/dir2/**", "dir/dir2/dir3/file", true],
  ["**file", "dir/dir/file", true],
  ["**file", "dir/other", false],
  ["**/file*", "dir/dir/file.txt", true],
  ["**/file*.txt*", "dir/dir/file.txt.old", true],
  ["**/**/*.txt", "file.txt", true],
  ["**/**/*.txt2", "dir/dir/file.txt", false],
  ["a**/*.txt", "a/dir/dir/file.txt", true],
  ["a/*.txt", "a/dir/file.txt", false],
  ["a/*.txt**", "a/file.txt", true],
  ["**/foo/bar", "foo/bar", true],
  ["**/foo/bar", "dir/dir2/foo/bar", true],
  ["**/foo/bar", "foo/x/bar", false],
  ["**/.foo", "bar.foo", false],
  ["**/.foo", "dir/.foo/x", true],
  ["***", "a/b", true],
  ["**/*/**", "a/b/c", true],
  ["**/x/**/y/**/z", "1/x/2/3/y/z", true],
  ["**/x/**/y/**/z", "1/x/2/3/z", false],
  // Classes, escapes and signs.
  ["a[b-d]e", "ace", true],
  ["a[b-d]e", "aae", false],
  ["a[^b-d]e", "aze", true],
  ["[\\]a]", "]", true],
  ["[\\-x]y", "-y", true],
  ["a]b", "a]b", true],
  ["a\\\\", "a\\", true],
  ["abc?def", "abcZdef", true],
  ["a.|)$(}+{bc", "a.|)$(}+{bc", true],
  ["dist/*.whl", "dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl", true],
  ["a*b*c*d*e*/f", "axbxcxdxexxx/f", true],
  ["a*b*c*d*e*/f", "axbxcxdxe/xxx/f", false],
  ["a*b?c*x", "abxbbxdbxebxczzx", true],
  ["a?b", "a☺b", true],
  ["a[^a]b", "a☺b", true],
  ["[a-ζ]*", "α", true],
  ["*[a-ζ]", "A", false],
  ["?", "🙂", true],
  // Case, blanks, slashes.
  ["DIR", "dir", false],
  ["dir/", "dir", true],
  ["dir//sub", "dir/sub/x", true],
  ["/", "a", false],
  ["/*", "a", true],
  [".", "a", false],
  ["*", ".", false],
  ["dir", "directory", false],
  ["  # blank first", "# blank first", true],
  ["a\r", "a", true],
  // Exceptions, in their order.
  ["**\n!util/docker/web", "util/docker/web/foo", false],
  ["**\n!util/docker/web\nutil/docker/web/foo", "util/docker/web/foo", true],
  ["**\n!dist/*.whl", "dist/a.whl", false],
  ["docs/*\n!docs/README.md", "docs/README.md", false],
  ["docs/\n!/docs/README.md", "docs/README.md", false],
  ["!docs\ndocs", "docs/a", true],
  ["a\n!a/b\na/b/c\n!a/b/c/d", "a/b/c/d", false],
  ["a\n!a/b\na/b/c\n!a/b/c/d", "a/b/c/e", true],
  ["*\n!**/*.go", "x/y.go", false],
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

test("cleans patterns as clients send them on", () => {
  expect(ignorePatterns("# c\n /a/ \n! /b/../c\n\n!x\n")).toEqual(["a", "!c", "!x"]);
});

test("takes a slash at the beginning of --exclude as it is, and no comment", () => {
  expect(createIgnoreRules(["/a"]).ignores("a")).toBe(false);
  expect(createIgnoreRules(["# a", "", " b "]).ignores("b")).toBe(true);
  expect(createIgnoreRules(["# a"]).ignores("# a")).toBe(true);
});

test("knows no two stars where Go's filepath.Match knows none", () => {
  const matches = compilePathPattern("a/**/b", { globstar: false });
  expect([matches("a/x/b"), matches("a/x/y/b"), matches("a/b")]).toEqual([true, false, false]);
});

test("answers soon, whatever stars a pattern has", () => {
  const rules = createIgnoreRules([`${"**/a*".repeat(40)}b`]);
  const path = "a/".repeat(100) + "a".repeat(200);
  const before = performance.now();
  expect(rules.ignores(path)).toBe(false);
  expect(performance.now() - before).toBeLessThan(5000);
});

test("refuses an exception of nothing, and a bracket that does not end", () => {
  expect(() => parseIgnoreFile("a\n!\n")).toThrow('illegal exclusion pattern: "!"');
  expect(() => parseIgnoreFile("a[b\n")).toThrow("syntax error in pattern");
  for (const pattern of ["[", "[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "a\\", "[^]"]) {
    expect(() => createIgnoreRules([pattern])).toThrow("syntax error in pattern");
  }
});
