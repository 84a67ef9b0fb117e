// One image's files are in memory once, however many containers run them: what overlay2's layers are for.
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { importBusybox } from "../support/busybox-image.ts";
import { startContainer } from "../support/engine-containers.ts";
import { startTestEngine, waitFor } from "../support/test-engine.ts";

const containers = 10;

/** Of the pages that a process has of the file that it runs: how much is resident, and how much is its share of that. In kB. */
function pagesOf(pid: number): { rss: number; pss: number } {
  const sum = { rss: 0, pss: 0 };
  let counts = false;
  for (const line of readFileSync(`/proc/${pid}/smaps`, "utf8").split("\n")) {
    // Pages that are never written: text and constants of the program and of libc.
    if (/^[0-9a-f]+-[0-9a-f]+ /.test(line)) counts = /^\S+ r-[x-]p .* \/\S+$/.test(line);
    const [, name, value] = /^(Rss|Pss): +(\d+) kB$/.exec(line) ?? [];
    if (!counts || !name) continue;
    if (name === "Rss") sum.rss += Number(value);
    else sum.pss += Number(value);
  }
  return sum;
}

test.each([
  ["overlay2", 0.08, 0.25],
  ["vfs", 0.9, 1],
] as const)(
  "on %s the share that each of ten containers has of its program's pages is between %p and %p of them",
  async (driver, least, most) => {
    await using engine = await startTestEngine(["--storage-driver", driver]);
    await importBusybox(engine);
    const ids = await Promise.all(Array.from({ length: containers }, () => startContainer(engine, ["sleep", "1000"])));
    const pids = await Promise.all(ids.map(async (id) => (await engine.inspect(id)).State.Pid));
    await waitFor("all to run the program", () => pids.every((pid) => pagesOf(pid).rss > 0));
    const shares = pids.map((pid) => pagesOf(pid)).map(({ rss, pss }) => pss / rss);
    expect(Math.min(...shares)).toBeGreaterThanOrEqual(least);
    expect(Math.max(...shares)).toBeLessThanOrEqual(most);
  },
  60_000,
);
