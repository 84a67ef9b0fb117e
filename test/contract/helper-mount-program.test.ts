// The op `mount-program`, with a program of our own: what it is given, what it leaves behind, and what a failure says.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { unmount } from "../../src/kernel/index.ts";
import { op } from "../../src/spec/index.ts";
import { frame } from "../support/frames.ts";
import { sanitizedHelper } from "../support/helper-binary.ts";
import { containerOps, eventually, makeBusyboxRoot, startMonitored } from "../support/monitored.ts";
import { mountsBelow, newScratch } from "../support/scratch.ts";

const scratch = newScratch();
const folder = scratch.path;
let root = "";
beforeAll(async () => {
  await sanitizedHelper();
  root = makeBusyboxRoot(folder);
}, 60_000);
afterAll(() => scratch[Symbol.asyncDispose]());

/** Mounts a tmpfs, leaves a process behind that ends with it, and writes down what it found. */
const server = `#!/bin/sh
{ pwd; echo "$@"; ls /proc/self/fd | tr '\\n' ' '; grep SigBlk /proc/self/status; env | sort; } >"$0.saw"
mount -t tmpfs -o size=64k served "$3" || exit 1
setsid sh -c 'while mountpoint -q "$0"; do sleep 0.02; done' "$3" </dev/null >/dev/null 2>&1 &
echo $! >"$0.pid"
`;

function program(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  chmodSync(path, 0o755);
  return path;
}

const mountedBy = (path: string, target: string, directory = "") =>
  op("monitor", "mount-program", [path, target, "one=1,two", directory], "");

const pidOf = (path: string): number => Number(readFileSync(`${path}.pid`, "utf8"));
const runs = (pid: number): boolean => existsSync(`/proc/${pid}`);

test("a program mounts with nothing of the monitor's, and its server ends with the container's mounts", async () => {
  const path = program("serve", server);
  const target = join(root, "tmp");
  const ops = containerOps({ root, words: ["sleep", "60"], before: [mountedBy(path, target, folder)] });
  await using container = await startMonitored({ folder, ops });
  const pid = await container.go();
  expect(mountsBelow(root)).toContain(target);
  expect(readFileSync(`${path}.saw`, "utf8").replace(/SigBlk:\s+/, "SigBlk ")).toBe(
    [
      folder,
      `-o one=1,two ${target}`,
      // The last is the listing's own.
      "0 1 2 3 SigBlk 0000000000000000",
      "LC_ALL=C",
      "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
      `PWD=${folder}`,
      "",
    ].join("\n"),
  );
  expect(runs(pidOf(path))).toBe(true);
  process.kill(pid, "SIGKILL");
  await eventually("the mount is gone", () => mountsBelow(root).length === 0);
  await eventually("its server is gone", () => !runs(pidOf(path)));
});

test("a server outlives a killed monitor, and ends with its mount", async () => {
  const path = program("serve-on", server);
  const target = join(root, "tmp");
  const ops = containerOps({ root, words: ["sleep", "60"], before: [mountedBy(path, target)] });
  await using container = await startMonitored({ folder, ops });
  const pid = await container.go();
  const monitor = Number(/PPid:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
  process.kill(monitor, "SIGKILL");
  await eventually("the monitor is gone", () => !runs(monitor));
  expect([runs(pidOf(path)), mountsBelow(root)]).toEqual([true, [target]]);
  unmount(target, { lazy: true });
  await eventually("its server is gone", () => !runs(pidOf(path)));
});

test("a program that fails is told with its words, and what was mounted before it is undone", async () => {
  mkdirSync(join(root, "before"), { recursive: true });
  const before = op("monitor", "mount", ["tmpfs", "tmpfs", join(root, "before"), "", "", "", ""], "");
  for (const [path, words] of [
    [program("fails", "#!/bin/sh\necho cannot serve >&2\nexit 3\n"), 'run "PATH": cannot serve'],
    [program("silent", "#!/bin/sh\nexit 1\n"), 'run "PATH": it said nothing'],
    [join(folder, "missing"), 'run "PATH": No such file or directory'],
  ] as const) {
    const ops = containerOps({ root, words: ["true"], before: [before, mountedBy(path, join(root, "tmp"))] });
    await using container = await startMonitored({ folder, ops });
    const failed = await container.start.next(frame.failed);
    expect(failed.fields.slice(0, 3)).toEqual(["1", "5", words.replace("PATH", path)]);
    await eventually("the mounts are gone", () => mountsBelow(root).length === 0);
  }
});
