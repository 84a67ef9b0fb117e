// SIGKILL to the daemon before the system calls that change something, through load, commit, push, rmi, prune and pull. Of each call the first
// `denseCount` moments are all tried, then every fifth, and at last ever fewer; VITRINE_EVERY_STEP=1 leaves none out.
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { storeEngine } from "../support/store-engine.ts";
import { surviveStoreKill } from "../support/survive-store-kill.ts";

setDefaultTimeout(1_800_000);

const { engine, before, image, action } = storeEngine();

let total = 0;
const denseCount = 16;
const stepFrom = (count: number): number =>
  process.env.VITRINE_EVERY_STEP || count < denseCount ? 1 : Math.max(5, Math.floor(count / 5));

/** Those of these that a kernel of this architecture does not have are left out by strace's `?`. */
const calls = [
  "mkdir",
  "mkdirat",
  "mknodat",
  "symlink",
  "symlinkat",
  "linkat",
  "rename",
  "renameat",
  "renameat2",
  "unlink",
  "unlinkat",
  "rmdir",
  "chmod",
  "fchmod",
  "fchown",
  "ftruncate",
  "fallocate",
  "utimensat",
  "fsetxattr",
  "setxattr",
  "pwrite64",
  "write",
  "fsync",
  "fdatasync",
  "sync_file_range",
  "copy_file_range",
  "connect",
  "sendto",
  "vfork",
  "clone3",
] as const;

for (const name of ["load", "commit", "push", "rmi", "prune", "pull"]) {
  describe(name, () => {
    for (const call of calls) {
      test(`killed before ${call}(2)s of a ${name}, the store is sound and doing it again succeeds`, async () => {
        let kills = 0;
        for (let count = 1; ; count += stepFrom(count)) {
          const killed = await surviveStoreKill({
            engine,
            action: action(name),
            moment: { call, count },
            image: image(),
            before,
          });
          if (!killed) break;
          kills++;
        }
        total += kills;
      });
    }
  });
}

test("a hundred kills and more were survived", () => {
  console.log(`${total} kills`);
  expect(total).toBeGreaterThan(100);
});
