import { expect, test } from "bun:test";
import { parseGitReference, shownRemote } from "../../../src/build/git-reference.ts";

/** remote, reference, folder and checksum in one line. */
function read(text: string, isContext = false): string {
  const parsed = parseGitReference(text, { isContext });
  if (!parsed) return "no repository";
  const { remote, reference, folder, checksum } = parsed;
  return [remote, reference ?? "-", folder ?? "-", ...(checksum === undefined ? [] : [checksum])].join(" ");
}

test("every form that Docker knows names remote, reference and folder", () => {
  const forms: [text: string, meaning: string][] = [
    ["https://example.com/foo/bar.git", "https://example.com/foo/bar.git - -"],
    ["https://example.com/foo/bar.git#main", "https://example.com/foo/bar.git main -"],
    ["https://example.com/foo/bar.git#a/b:c/d", "https://example.com/foo/bar.git a/b c/d"],
    ["https://example.com/foo/bar.git#:c/./d/", "https://example.com/foo/bar.git - c/d"],
    ["https://example.com/bar.git#main:../../etc", "https://example.com/bar.git main etc"],
    ["http://example.com/bar.git?ref=v1&subdir=x", "http://example.com/bar.git v1 x"],
    ["https://example.com/bar.git?tag=v1", "https://example.com/bar.git refs/tags/v1 -"],
    ["https://example.com/bar.git?branch=dev", "https://example.com/bar.git refs/heads/dev -"],
    ["https://example.com/bar.git?checksum=abc123#main", "https://example.com/bar.git main - abc123"],
    ["git://example.com/foo/bar", "git://example.com/foo/bar - -"],
    ["ssh://git@example.com:2222/foo", "ssh://git@example.com:2222/foo - -"],
    ["git@example.com:foo/bar.git#dev:sub", "git@example.com:foo/bar.git dev sub"],
    ["user@example.com:foo?ref=x", "user@example.com:foo x -"],
  ];
  for (const [text, meaning] of forms) expect([text, read(text)]).toEqual([text, meaning]);
  expect(read("github.com/foo/bar#dev", true)).toBe("https://github.com/foo/bar dev -");
});

test("what only looks like a repository is none", () => {
  const others = [
    "https://example.com/foo.tar.gz",
    "https://example.com/foo",
    "./foo.git",
    "../foo@bar:baz",
    "foo/bar.git",
    "file:///srv/foo.git",
    "ext::sh -c id",
    "github.com/foo/bar",
    "alpine:3.20",
    "registry:5000/app@sha256:00",
  ];
  for (const text of others) expect([text, read(text)]).toEqual([text, "no repository"]);
});

test("a reference that git could take for an option, or that means nothing, is refused", () => {
  const refused: [text: string, words: string][] = [
    ["https://example.com/bar.git#--upload-pack=id", 'invalid git ref "--upload-pack=id"'],
    ["https://example.com/bar.git?ref=-x", 'invalid git ref "-x"'],
    ["https://example.com/bar.git#a%20b", 'invalid git ref "a b"'],
    ["https://example.com/bar.git#a..b", 'invalid git ref "a..b"'],
    ["ssh://-oProxyCommand=id/foo", 'invalid host "-oProxyCommand=id"'],
    ["git@example.com:-u", "it names no repository"],
    ["https://example.com/bar.git?ref=a#b", 'ref conflicts: "b" vs "a"'],
    ["https://example.com/bar.git?subdir=a#m:b", 'subdir conflicts: "b" vs "a"'],
    ["https://example.com/bar.git?tag=a&branch=b", "branch conflicts with tag"],
    ["https://example.com/bar.git?ref=", 'query "ref" has no value'],
    ["https://example.com/bar.git?ref=a&ref=b", 'query "ref" has multiple values'],
    ["https://example.com/bar.git?what=1", 'unexpected query "what"'],
    ["https://example.com/bar.git?submodules=maybe", 'invalid submodules value: "maybe"'],
    ["https://example.com/bar.git?mtime=now", 'invalid mtime value: "now" (must be "checkout" or "commit")'],
    ["https://example.com/bar.git?checksum=xyz", "invalid checksum xyz for Git URL, expected hex commit hash"],
    ["https://example.com/bar.git?fetch-by-commit&checksum=abc", "fetch-by-commit requires a full commit SHA checksum"],
  ];
  for (const [text, words] of refused) expect(() => parseGitReference(text)).toThrow(words);
});

test("switches of the query are read, and a password is never shown", () => {
  const parsed = parseGitReference("https://me:secret@example.com/bar.git?submodules=false&keep-git-dir&mtime=commit");
  expect(parsed).toMatchObject({ submodules: false, keepGitDirectory: true, mtime: "commit", host: "example.com" });
  expect(shownRemote(parsed?.remote ?? "")).toBe("https://example.com/bar.git");
  expect(shownRemote("ssh://git@example.com/bar.git")).toBe("ssh://git@example.com/bar.git");
  expect(() => parseGitReference("https://me:secret@example.com/bar.git?x=1")).toThrow(
    '"https://example.com/bar.git?x=1"',
  );
});
