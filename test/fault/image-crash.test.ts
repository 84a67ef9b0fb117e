import { describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { collectBytes, openImages, sha256 } from "../support/image-fixture.ts";
import { newScratch } from "../support/scratch.ts";

const program = join(import.meta.dir, "../support/image-load-forever.ts");

/** Starts the program and kills it that long after it said that it is ready. */
async function killAfter(folder: string, delayMs: number): Promise<void> {
  const child = Bun.spawn([process.execPath, program, folder], { stdout: "pipe", stderr: "inherit" });
  const reader = child.stdout.getReader();
  expect(Buffer.from((await reader.read()).value ?? []).toString()).toBe("ready\n");
  // The delay is what varies from round to round: it is where the kill lands, not something waited for.
  await Bun.sleep(delayMs);
  child.kill("SIGKILL");
  await child.exited;
}

describe("killed while images are loaded and removed", () => {
  test("the store opens with whole images or none, and collects the rest", async () => {
    for (let delayMs = 1; delayMs < 40; delayMs += 5) {
      await using scratch = newScratch();
      await killAfter(scratch.path, delayMs);
      using fixture = openImages(scratch.path);
      const { images, snapshots, content } = fixture;
      await images.collect();
      for (const image of images.list()) {
        expect(sha256(content.readBytes(image.id))).toBe(image.id);
        for (const layer of image.layers) {
          expect(sha256(await collectBytes(snapshots.packLayer(layer.chainId)))).toBe(layer.diffId);
        }
        await images.remove(image.id, { force: true, noPrune: false, usedBy: () => [] });
      }
      expect([...snapshots.layers(), ...snapshots.keys(), ...content.digests()]).toEqual([]);
      expect(readdirSync(join(scratch.path, "root/content/blobs/sha256"))).toEqual([]);
      const directories = readdirSync(join(scratch.path, "root/overlay2")).filter((name) => name !== "l");
      expect(directories).toEqual([]);
    }
  });
});
