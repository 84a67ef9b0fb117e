import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { newBtrfsVolume } from "../support/btrfs-volume.ts";
import { everyday } from "../support/everyday.ts";
import { runProgram, startTestEngine, vitrineCommand } from "../support/test-engine.ts";

describe("build, run, exec, diff, restart and remove", () => {
  test("on vfs", async () => {
    const options = ["--storage-driver", "vfs"];
    await using engine = await startTestEngine(options);
    await everyday(engine, "vfs", options);
  });

  test("on btrfs", async () => {
    await using volume = newBtrfsVolume();
    const options = ["--storage-driver", "btrfs", "--root", join(volume.path, "root")];
    await using engine = await startTestEngine(options);
    await everyday(engine, "btrfs", options);
  });
});

test("a driver that is no more is refused with what replaced it", async () => {
  const { exitCode, stderr } = await runProgram([...vitrineCommand, "daemon", "--storage-driver", "aufs"]);
  expect([exitCode, stderr]).toEqual([125, expect.stringContaining("overlay2 replaced it")]);
});
