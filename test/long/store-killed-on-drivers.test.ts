// SIGKILL to the daemon at some steps of what changes the store, on the storage drivers other than overlay2.
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { dirname, join } from "node:path";
import type { Moment } from "../support/kill-at.ts";
import { shell } from "../support/raw-tar.ts";
import { storeEngine } from "../support/store-engine.ts";
import { surviveStoreKill } from "../support/survive-store-kill.ts";

setDefaultTimeout(120_000);

/** A btrfs in a file beside the mount point. */
function mountBtrfs(path: string): void {
  const file = join(dirname(path), "disk");
  shell(
    dirname(path),
    `export PATH=$PATH:/usr/sbin; truncate -s 500M ${file}; mkfs.btrfs -q ${file}; mount -o loop ${file} ${path}`,
  );
}

const moments: readonly Moment[] = [
  { call: "mkdir", count: 1 },
  { call: "mkdir", count: 3 },
  { call: "rename", count: 1 },
  { call: "rename", count: 2 },
  { call: "pwrite64", count: 3 },
  { call: "pwrite64", count: 10 },
  { call: "fchmod", count: 2 },
  { call: "ioctl", count: 1 },
  { call: "ioctl", count: 2 },
  { call: "vfork", count: 1 },
  { call: "vfork", count: 2 },
];

describe.each([
  ["vfs", undefined],
  ["btrfs", mountBtrfs],
  ["fuse-overlayfs", undefined],
] as const)("%s", (driver, root) => {
  const { engine, before, image, action } = storeEngine({ driver, ...(root ? { root } : {}) });
  test.each(["load", "commit", "rmi", "pull"])(
    "a daemon killed in a %s leaves a sound store, and doing it again succeeds",
    async (name) => {
      const killed: boolean[] = [];
      for (const moment of moments) {
        killed.push(await surviveStoreKill({ engine, action: action(name), moment, image: image(), before }));
      }
      expect(killed.filter(Boolean).length).toBeGreaterThan(1);
    },
  );
});
