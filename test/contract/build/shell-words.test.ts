import { describe, expect, test } from "bun:test";
import { expandWord, expandWords } from "../../../src/build/index.ts";

const variables = new Map([
  ["HOME", "/root"],
  ["EMPTY", ""],
  ["LIST", "80  443"],
  ["FILE", "lib/archive.tar.gz"],
  ["STARS", "a*b*c"],
  ["ÄH", "ja"],
]);

// A word, and what becomes of it; an Error's text where it is refused.
const single: [word: string, result: string | Error][] = [
  ["plain", "plain"],
  ["$HOME", "/root"],
  ["${HOME}x", "/rootx"],
  ["$HOMEx", ""],
  ["$ÄH", "ja"],
  ["$1x", "x"],
  ["$$", ""],
  ["a$.b", "a$.b"],
  ["a$", "a$"],
  ["\\$HOME", "$HOME"],
  ["'$HOME'", "$HOME"],
  ['"$HOME"', "/root"],
  ['"\\$HOME"', "$HOME"],
  ['"a\\tb"', "a\\tb"],
  ['"a\\\\b"', "a\\b"],
  ["a\\tb", "atb"],
  ["end\\", "end"],
  ["it\\'s", "it's"],
  ['"it\'s"', "it's"],
  ["''\"\"", ""],
  ["${NONE:-word}", "word"],
  ["${EMPTY:-word}", "word"],
  ["${EMPTY-word}", ""],
  ["${NONE-word}", "word"],
  ["${HOME:+word}", "word"],
  ["${EMPTY:+word}", ""],
  ["${EMPTY+word}", "word"],
  ["${NONE+word}", ""],
  ["${HOME:?must}", "/root"],
  ["${EMPTY?must}", ""],
  ["${NONE:-${EMPTY:-$HOME}}", "/root"],
  ["${NONE:-a b}", "a b"],
  ["${NONE:-}}", "}"],
  ["${FILE#*.}", "tar.gz"],
  ["${FILE##*.}", "gz"],
  ["${FILE%.*}", "lib/archive.tar"],
  ["${FILE%%.*}", "lib/archive"],
  ["${FILE#lib\\/}", "archive.tar.gz"],
  ["${FILE##*/}", "archive.tar.gz"],
  ["${FILE#nope}", "lib/archive.tar.gz"],
  ["${FILE%.??}", "lib/archive.tar"],
  ["${STARS#a\\*}", "b*c"],
  ["${STARS%\\*c}", "a*b"],
  ["${FILE/archive/backup}", "lib/backup.tar.gz"],
  ["${FILE/./-}", "lib/archive-tar.gz"],
  ["${FILE//./-}", "lib/archive-tar-gz"],
  ["${FILE/\\//:}", "lib:archive.tar.gz"],
  ["${FILE//[/x}", "lib/archive.tar.gz"],
  ["${FILE/a*r/x}", "lib/x.gz"],
  ["${FILE//\\*/x}", "lib/archive.tar.gz"],
  ["${STARS//\\*/}", "abc"],
  ["${STARS//?/x}", "xxxxx"],
  ["${EMPTY/*/x}", "x"],
  ["${STARS//*/x}", "x"],
  ["${STARS#*b*}", "*c"],
  ["${STARS##*b*}", ""],
  ["<", "<"],
  ["<<EOF", "<<EOF"],
  ["${NONE:?is needed}", new Error("NONE: is needed")],
  ["${NONE?}", new Error("NONE: is not allowed to be unset")],
  ["${EMPTY:?}", new Error("EMPTY: is not allowed to be empty")],
  ["${}", new Error("syntax error: bad substitution")],
  ["${:-x}", new Error("syntax error: bad substitution")],
  ["${{HOME}", new Error("syntax error: bad substitution")],
  ["${HOME", new Error("syntax error: missing '}'")],
  ["${HOME:-x", new Error("syntax error: missing '}'")],
  ["${HOME/x", new Error("syntax error: missing '/' in ${}")],
  ["${HOME:=x}", new Error("unsupported modifier (:=) in substitution")],
  ["${HOME:#x}", new Error("unsupported modifier (:#) in substitution")],
  ["${HOME,}", new Error("unsupported modifier (,) in substitution")],
  ["${STARS#\\a}", new Error("invalid escape")],
  ["'open", new Error("looking for matching single-quote")],
  ['"open', new Error("looking for matching double-quote")],
];

describe("a word", () => {
  for (const [word, result] of single) {
    test(`${word} ${result instanceof Error ? "is refused" : `is ${JSON.stringify(result)}`}`, () => {
      if (result instanceof Error) {
        expect(() => expandWord(word, variables, { escape: "\\" })).toThrow(result.message);
      } else {
        expect(expandWord(word, variables, { escape: "\\" })).toBe(result);
      }
    });
  }

  test("is refused when its pattern would take for ever", () => {
    const long = new Map([["LONG", "a".repeat(60_000)]]);
    const expand = (): string => expandWord("${LONG/*a*a*a*a*b/x}", long, { escape: "\\" });
    expect(expand).toThrow("takes too long");
  });

  test("is refused when its substitutions go too deep", () => {
    const deep = (levels: number): string => `${"${NONE:-".repeat(levels)}x${"}".repeat(levels)}`;
    expect(expandWord(deep(100), variables, { escape: "\\" })).toBe("x");
    expect(() => expandWord(deep(100_000), variables, { escape: "\\" })).toThrow("more than 100 substitutions");
  });

  test("has the escape that the file's directive names", () => {
    expect(expandWord("C:\\dir`$HOME", variables, { escape: "`" })).toBe("C:\\dir$HOME");
  });

  test("keeps its quotes when it is the text of a heredoc", () => {
    expect(expandWord('say "it\'s $HOME"', variables, { escape: "\\", skipQuotes: true })).toBe('say "it\'s /root"');
  });
});

describe("words", () => {
  const several: [text: string, words: string[]][] = [
    ["a b", ["a", "b"]],
    ["  a\t b  ", ["a", "b"]],
    ["'a b' c\\ d", ["a b", "c d"]],
    ["$LIST", ["80", "443"]],
    ['"$LIST"', ["80  443"]],
    ["x${LIST}y", ["x80", "443y"]],
    ["$NONE", []],
    ["<< EOF x", ["<< EOF", "x"]],
  ];
  for (const [text, words] of several) {
    test(`${JSON.stringify(text)} are ${JSON.stringify(words)}`, () => {
      expect(expandWords(text, variables, { escape: "\\" })).toEqual(words);
    });
  }
});
