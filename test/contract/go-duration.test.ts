import { expect, test } from "bun:test";
import { formatGoDuration, goDurationProblem, parseGoDuration } from "../../src/common/index.ts";

test("a duration is read as Go reads it", () => {
  const cases: [text: string, nanoseconds: number | undefined][] = [
    ["0", 0],
    ["1h15m30.9s", 4_530_900_000_000],
    ["-1.5h", -5_400_000_000_000],
    [".5s", 500_000_000],
    ["4.35s", 4_350_000_000],
    ["1.9ns", 1],
    ["3µs", 3000],
    ["", undefined],
    ["5", undefined],
    ["5x", undefined],
    ["1s 2s", undefined],
  ];
  for (const [text, nanoseconds] of cases) expect([text, parseGoDuration(text)]).toEqual([text, nanoseconds]);
});

test("what is no duration is named in Go's words", () => {
  expect(goDurationProblem("5")).toBe('time: missing unit in duration "5"');
  expect(goDurationProblem("5x")).toBe('time: unknown unit "x" in duration "5x"');
  expect(goDurationProblem("soon")).toBe('time: invalid duration "soon"');
});

test("a duration is written as Go writes it", () => {
  expect([0, 999, 1500, 2_500_000, 90e9, 3_600e9, -1e9].map(formatGoDuration)).toEqual([
    "0s",
    "999ns",
    "1.5µs",
    "2.5ms",
    "1m30s",
    "1h0m0s",
    "-1s",
  ]);
});
