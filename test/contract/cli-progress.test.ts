import { expect, test } from "bun:test";
import { progressBar } from "../../src/cli/progress.ts";

// What docker's jsonmessage package prints for the same figures.
const cases: readonly (readonly [figures: { current?: number; total?: number }, columns: number, text: string])[] = [
  [{}, 200, ""],
  [{ current: 1 }, 200, "      1B"],
  [{ current: 20, total: 100 }, 200, "[==========>                                        ]      20B/100B"],
  [{ current: 20, total: 100 }, 80, "     20B/100B"],
  [{ current: 1_234_567, total: 5_000_000 }, 100, " 1.235MB/5MB"],
  [{ current: 50, total: 40 }, 200, "[==================================================>]      50B"],
];
for (const [figures, columns, text] of cases) {
  test(`${JSON.stringify(figures)} on ${columns} columns`, () => {
    expect(progressBar(figures, columns)).toBe(text);
  });
}
