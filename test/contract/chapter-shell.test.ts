import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { ChapterShell } from "../support/chapter.ts";

test("what a chapter runs in the background ends with its shell, also where it does not listen", async () => {
  const pids: string[] = [];
  {
    await using shell = new ChapterShell({ cwd: "/", environment: {} });
    for (const command of ["sleep 300 & echo $!", "(trap '' TERM; while :; do sleep 0.1; done) & echo $!"]) {
      pids.push((await shell.run(command)).output.trim());
    }
    expect(pids.map((pid) => existsSync(`/proc/${pid}/stat`))).toEqual([true, true]);
  }
  expect(pids.map((pid) => existsSync(`/proc/${pid}/stat`))).toEqual([false, false]);
}, 15_000);
