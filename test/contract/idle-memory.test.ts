import { expect, test } from "bun:test";
import { RestDetector } from "../../src/engine/idle-memory.ts";

test("rest is told once after each time of work, and never to an engine that has not worked", () => {
  const rest = new RestDetector();
  expect([5, 10, 15].map((spentMs) => rest.look(spentMs))).toEqual([false, false, false]);
  expect([900, 1900].map((spentMs) => rest.look(spentMs))).toEqual([false, false]);
  expect([1905, 1910].map((spentMs) => rest.look(spentMs))).toEqual([true, false]);
  expect([2500, 2505].map((spentMs) => rest.look(spentMs))).toEqual([false, true]);
});

test("the cost of giving memory back does not count as work", () => {
  const rest = new RestDetector();
  rest.look(1000);
  expect(rest.look(1001)).toBe(true);
  rest.ignore(1500);
  expect([1505, 1510].map((spentMs) => rest.look(spentMs))).toEqual([false, false]);
});
