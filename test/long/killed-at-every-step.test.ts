// SIGKILL to the daemon before every system call that changes something, through create, start and remove of one container.
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { importBusybox } from "../support/busybox-image.ts";
import { settledTraces } from "../support/engine-traces.ts";
import { surviveKillAt } from "../support/kill-at.ts";
import { TestEngine } from "../support/test-engine.ts";

setDefaultTimeout(1_800_000);

const engine = new TestEngine();
let before: string[] = [];

beforeAll(async () => {
  await engine.start();
  await importBusybox(engine);
  before = await settledTraces(engine);
});
afterAll(() => engine[Symbol.asyncDispose]());

/** Those of these that a kernel of this architecture does not have are left out by strace's `?`. */
const calls = [
  "mkdir",
  "mkdirat",
  "symlink",
  "rename",
  "renameat2",
  "unlink",
  "unlinkat",
  "rmdir",
  "chmod",
  "fchmod",
  "ftruncate",
  "pwrite64",
  "write",
  "fsync",
  "fdatasync",
  "mount",
  "umount2",
  "sendto",
  "sendmsg",
  "bind",
  "listen",
  "connect",
  "vfork",
  "clone3",
  "openat",
  "setxattr",
] as const;

for (const call of calls) {
  test(`killed before every ${call}(2), the next daemon leaves nothing half made`, async () => {
    let count = 1;
    while (await surviveKillAt(engine, { call, count }, before)) count++;
    expect(count).toBeGreaterThan(0);
  });
}
