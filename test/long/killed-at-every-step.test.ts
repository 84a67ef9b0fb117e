// SIGKILL to the daemon before every system call that changes something, through create, start and remove of one container.
import { expect, setDefaultTimeout, test } from "bun:test";
import { settledEngine } from "../support/busybox-engine.ts";
import { surviveKillAt } from "../support/kill-at.ts";

setDefaultTimeout(1_800_000);

const { engine, before } = settledEngine();

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
