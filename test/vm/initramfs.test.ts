// Run by `npm run test:vm` while the machine's root is still the initramfs.
import { expect, test } from "bun:test";
import { readMounts } from "../../src/kernel/index.ts";
import { pivotInNewNamespace } from "./pivot.ts";

test("the root is the initramfs, which is never unmounted", () => {
  const root = readMounts().find((mount) => mount.target === "/");
  expect(root?.type ?? "rootfs").toBe("rootfs");
});

test("pivot_root refuses an initramfs as the old root with EINVAL", async () => {
  const { exitCode, output } = await pivotInNewNamespace();
  expect(exitCode).not.toBe(0);
  expect(output).toContain("Invalid argument");
});
