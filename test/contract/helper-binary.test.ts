import { expect, test } from "bun:test";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { compileHelper } from "../../scripts/compile-helper.ts";
import { monitorProtocol } from "../../src/runtime/index.ts";
import { planOpSet, planVersion } from "../../src/spec/index.ts";
import { containerOps, eventually, makeBusyboxRoot, startMonitored } from "../support/monitored.ts";
import { newScratch } from "../support/scratch.ts";

test("the released helper is static, small, says its versions, and its monitor takes less than 0.5 MB", async () => {
  await using scratch = newScratch();
  const helper = join(scratch.path, "vitrine-helper");
  await compileHelper(helper);
  expect(statSync(helper).size).toBeLessThan(1_000_000);
  expect(readFileSync(helper).includes("/lib64/ld-linux")).toBe(false);
  const run = (...words: string[]) => Bun.spawnSync([helper, ...words]);
  expect(run("version").stdout.toString()).toBe(`vitrine-helper ${monitorProtocol} ${planVersion} ${planOpSet}\n`);
  for (const words of [[], ["dance"], ["version", "more"]]) expect(run(...words).exitCode).toBe(2);

  const root = makeBusyboxRoot(scratch.path);
  const options = { folder: scratch.path, helper, ops: containerOps({ root, words: ["sleep", "60"] }) };
  await using container = await startMonitored(options);
  const pid = await container.go();
  const monitor = /PPid:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  const proportional = () =>
    Number(/\nPss:\s+(\d+) kB/.exec(readFileSync(`/proc/${monitor}/smaps_rollup`, "utf8"))?.[1]);
  // It gives memory back just after it has told of the start.
  await eventually("the monitor is small", () => proportional() < 512);
}, 60_000);

test("the helper knows every op that a plan can name, and no other", () => {
  const table = readFileSync(join(import.meta.dir, "../../helper/ops.c"), "utf8");
  const known = [...table.matchAll(/^ {2}\{"([a-z-]+)", (?:op_|NULL)/gm)].map((match) => match[1]).toSorted();
  const types = readFileSync(join(import.meta.dir, "../../src/spec/plan.ts"), "utf8");
  const [, body = ""] = /export interface OpArguments \{\n([^]*?)\n\}/.exec(types) ?? [];
  const named = [...body.matchAll(/^ {2}"?([a-z-]+)"?: \[/gm)].map((match) => match[1]).toSorted();
  expect(known).toEqual(named);
});
