// Run by `npm run test:vm` while the machine's root is still the initramfs.
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { EngineError } from "../../src/common/index.ts";
import { readMounts } from "../../src/kernel/index.ts";
import { busyboxPlan, makeBusyboxRoot, startPlan } from "../support/busybox-container.ts";
import { importBusybox } from "../support/busybox-image.ts";
import { execContainer, removeContainer, startContainer } from "../support/engine-containers.ts";
import { mountsBelow, newScratch } from "../support/scratch.ts";
import { startTestEngine } from "../support/test-engine.ts";
import { pivotInNewNamespace } from "./pivot.ts";

setDefaultTimeout(60_000);

const scratch = newScratch();
const { TMPDIR } = process.env;

beforeAll(() => {
  // What overlay needs of an upper directory, the initramfs may not have.
  Bun.spawnSync(["mount", "-t", "tmpfs", "tmpfs", scratch.path]);
  process.env.TMPDIR = scratch.path;
});
afterAll(async () => {
  if (TMPDIR === undefined) delete process.env.TMPDIR;
  else process.env.TMPDIR = TMPDIR;
  await scratch[Symbol.asyncDispose]();
});

test("the root is the initramfs, which is never unmounted", () => {
  const root = readMounts().find((mount) => mount.target === "/");
  expect(root?.type ?? "rootfs").toBe("rootfs");
});

test("pivot_root refuses an initramfs as the old root with EINVAL", async () => {
  const { exitCode, output } = await pivotInNewNamespace();
  expect(exitCode).not.toBe(0);
  expect(output).toContain("Invalid argument");
});

test("the plan's pivot-root tells of it, and nothing of the start is left", async () => {
  const root = makeBusyboxRoot(scratch.path);
  const { plan } = busyboxPlan(root, { process: { args: ["true"] } });
  const error = await startPlan(root, plan).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(EngineError);
  expect((error as EngineError).data).toMatchObject({ op: "pivot-root", errnoName: "EINVAL" });
  expect((error as EngineError).message).toContain("--no-pivot");
  expect(mountsBelow(scratch.path)).toEqual([scratch.path]);
});

test("a daemon with --no-pivot runs containers there, whose root has no way back", async () => {
  await using engine = await startTestEngine(["--no-pivot"]);
  await importBusybox(engine);
  const id = await startContainer(engine, ["sleep", "60"], { host: { CapAdd: ["SYS_CHROOT"] } });
  const { stdout } = await execContainer(engine, id, "ls /; ls -d /project /proc/1/root/project; ls /..");
  expect(stdout).toContain("bin\n");
  expect(stdout).not.toContain("project");
  expect((await execContainer(engine, id, "cat /proc/self/mountinfo")).stdout).toMatch(/ \/ \/ .* - overlay /);
  await removeContainer(engine, id);
});
