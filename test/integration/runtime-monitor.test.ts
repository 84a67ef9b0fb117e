import { expect, test } from "bun:test";
import { existsSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { MonitorConnection, readExitRecord, readLog, type OutputEvent } from "../../src/runtime/index.ts";
import { busyboxPlan, type ContainerOptions, makeBusyboxRoot, startPlan } from "../support/busybox-container.ts";
import { mountsBelow, newScratch } from "../support/scratch.ts";

/** Runs a container to its end: its log as text, its exit, and the start. */
async function runToEnd(folder: string, options: ContainerOptions) {
  const root = makeBusyboxRoot(folder);
  const { plan } = busyboxPlan(root, options);
  const start = await startPlan(root, plan);
  await start.go();
  const exit = await start.connection.exited;
  let output = "";
  for await (const record of readLog(join(folder, "log"))) output += Buffer.from(record.data).toString();
  start.connection.close();
  return { output, exit, start, root, plan };
}

test("a container runs in its own root with its own hostname, is process 1, and its exit is told and recorded", async () => {
  await using scratch = newScratch();
  const { output, exit, start, root, plan } = await runToEnd(scratch.path, {
    process: { args: ["sh", "-c", "echo $$ $(hostname) $(pwd); ls /; exit 7"], cwd: "/tmp/made" },
  });
  expect(output.split("\n")[0]).toBe("1 box /tmp/made");
  expect(output).not.toContain("home");
  expect(exit).toMatchObject({ exitCode: 7, signal: 0, oomKilled: false });
  expect(readExitRecord(join(root.folder, "run/exit"))).toMatchObject({ exitCode: 7, pid: start.ready.pid });
  expect(
    start
      .reports()
      .map(({ index }) => index)
      .sort((a, b) => a - b),
  ).toEqual(plan.ops.map((_, index) => index));
  expect(start.reports().filter(({ errno }) => errno !== 0)).toEqual([]);
  while (mountsBelow(scratch.path).length > 0) await Bun.sleep(5);
});
