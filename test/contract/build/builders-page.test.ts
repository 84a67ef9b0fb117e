import { expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

const page = join(import.meta.dir, "../../../docs/builders.md");
const text = readFileSync(page, "utf8");

/** Each row's cells, the heads of the tables left out. */
const rows = text
  .split("\n")
  .filter((line) => line.startsWith("| ") && !line.startsWith("| |"))
  .map((line) => line.slice(1, -1).split(/(?<!\\)\|/))
  .map((cells) => cells.map((cell) => cell.trim()));

test("the page of builders says something of every builder in every row, and of ours what holds it", () => {
  expect(rows.length).toBeGreaterThan(60);
  for (const cells of rows) {
    expect(cells).toHaveLength(5);
    expect(cells.filter((cell) => cell === "")).toEqual([]);
    expect(cells[4]).toMatch(/\]\(\.\.\/test\//);
  }
});

test("every link of the page leads to something", () => {
  const links = [...text.matchAll(/\]\(([^)#]+)\)/g)].map(([, link = ""]) => link);
  expect(links.filter((link) => !existsSync(join(page, "..", link)))).toEqual([]);
});
